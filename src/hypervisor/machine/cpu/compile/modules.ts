/** Modules whose bytes depend on nothing but where the code cache lies, which is nearly always the same: one for all hosts. */
import type { CacheLayout } from '../cache-layout.js';

/** `emit`, compiled once for each layout. */
export function perLayout(
  emit: (layout: CacheLayout) => Uint8Array<ArrayBuffer>,
): (layout: CacheLayout) => WebAssembly.Module {
  const modules = new Map<string, WebAssembly.Module>();
  return layout => {
    const key = Object.values(layout).join();
    let module = modules.get(key);
    if (module === undefined) {
      module = new WebAssembly.Module(emit(layout));
      modules.set(key, module);
    }
    return module;
  };
}
