/** An SVG of ours as PNG. The renderer is WebAssembly and brings no fonts: DejaVu Sans Mono has what the console writes, DejaVu Sans the Braille of charts. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { initWasm, Resvg } from '@resvg/resvg-wasm';

/** Pixels for a unit of the SVG, so that text is sharp on fine screens. */
const SCALE = 2;
const FACES = ['DejaVuSansMono.ttf', 'DejaVuSansMono-Bold.ttf', 'DejaVuSans.ttf'] as const;

let ready: Promise<void> | undefined;

export async function pngOf(svg: string): Promise<Uint8Array> {
  const require = createRequire(import.meta.url);
  ready ??= initWasm(readFileSync(require.resolve('@resvg/resvg-wasm/index_bg.wasm')));
  await ready;
  const picture = new Resvg(svg, {
    fitTo: { mode: 'zoom', value: SCALE },
    font: {
      fontBuffers: FACES.map(face => new Uint8Array(readFileSync(require.resolve(`dejavu-fonts-ttf/ttf/${face}`)))),
      defaultFontFamily: 'DejaVu Sans Mono',
      monospaceFamily: 'DejaVu Sans Mono',
    },
  });
  return picture.render().asPng();
}
