/** Shares, reservation and limit of a VM, changed at the console while it runs or not. */
import type { VmSample } from '../hypervisor/index.js';
import type { Desk } from './actions.js';
import { printable } from './format.js';
import type { Asker } from './prompts.js';
import type { MenuItem } from './state.js';

/** `low`, `normal` and `high` of one virtual CPU, as in .vmx files. */
const LEVELS: Readonly<Record<string, number>> = { low: 500, normal: 1000, high: 2000 };
const WORDS_OF_NO_LIMIT: ReadonlySet<string> = new Set(['unlimited', 'none', '-1']);

const wholeNumber = (text: string): number | undefined => (/^\d{1,9}$/.test(text) ? Number(text) : undefined);

/** Which figure to change; then its value. The host has the last word on whether it can be. */
export function openCpuMenu(desk: Desk & Asker, vm: VmSample): void {
  const { shares, minMhz, maxMhz } = vm.cpu;
  const name = printable(vm.name);
  const change = (what: string, parse: (typed: string) => number | null | undefined, field: Field): void => {
    desk.prompt(`${what} of ${name}: `, typed => {
      const value = parse(typed.trim().toLowerCase());
      if (value === undefined) {
        desk.say(`${what} cannot be "${printable(typed)}"`, true);
        return;
      }
      void desk.send({ kind: 'setCpu', vm: vm.name, [field]: value }).then(ok => {
        if (ok) desk.say(`${name}: ${what} ${value ?? 'none'}`);
      });
    });
  };
  const items: MenuItem[] = [
    {
      cells: ['shares', String(shares), 'of the processors, when they are contended; low, normal, high or a number'],
      choose: () => change('CPU shares', typed => LEVELS[typed] ?? wholeNumber(typed), 'shares'),
    },
    {
      cells: ['reservation', `${minMhz} MHz`, 'what the VM gets, whatever the others claim'],
      choose: () => change('CPU reservation (MHz)', wholeNumber, 'reservationMhz'),
    },
    {
      cells: ['limit', maxMhz === undefined ? 'none' : `${maxMhz} MHz`, 'what it does not exceed; none or a number'],
      choose: () =>
        change('CPU limit (MHz)', typed => (WORDS_OF_NO_LIMIT.has(typed) ? null : wholeNumber(typed)), 'limitMhz'),
    },
  ];
  desk.openMenu(`CPU resources of ${name}`, ['resource', 'now', 'meaning'], items);
}

type Field = 'shares' | 'reservationMhz' | 'limitMhz';
