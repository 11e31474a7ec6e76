/** Settings of the engine for tests: those that users have, and one where compiled code comes at some later time. */
import { type EngineOptions, engineDefaults } from '../src/hypervisor/machine/cpu/code-cache.js';
import { DelayedWorkshop } from './delayed-workshop.js';

/** `later`: everything is ordered on its first execution. */
export type EngineSetting = NonNullable<EngineOptions['tiering']> | 'later';

export function setEngine(setting: EngineSetting): void {
  engineDefaults.tiering = setting === 'later' ? 'always' : setting;
  engineDefaults.workshop = setting === 'later' ? () => new DelayedWorkshop() : undefined;
}

/** What `make` makes, of which each code cache that it makes is in the setting. */
export function inSetting<T>(setting: EngineSetting, make: () => T): T {
  const before = { ...engineDefaults };
  setEngine(setting);
  try {
    return make();
  } finally {
    Object.assign(engineDefaults, before);
  }
}
