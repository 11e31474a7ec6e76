/** Boots the guest image in QEMU, the independent judge, and returns its console. */
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const QEMU = 'qemu-system-i386';
export const IMAGE = fileURLToPath(new URL('../../fixtures/guest.elf', import.meta.url));

export interface Recording {
  readonly name: string;
  readonly append: string;
  /** Typed on the console, each once the text before it has appeared. */
  readonly typed?: readonly { readonly after: string; readonly text: string }[];
}

/** The runs that are recorded in fixtures/console and repeated under every monitor. */
export const RECORDINGS: readonly Recording[] = [
  { name: 'selftest', append: 'run=selftest panic=poweroff' },
  {
    name: 'benchmarks',
    append: 'run=getppid,divzero,segv,nativeswitch,javaswitch,nforkwait,spin iterations=4 panic=poweroff',
  },
  { name: 'hz100', append: 'hz=100 syscall=int80 run=getppid,nforkwait iterations=5 panic=poweroff' },
  {
    name: 'shell',
    append: 'panic=poweroff',
    typed: [
      { after: '# ', text: 'hellp\b\bp; ls /dev;ps\r' },
      { after: 'COMMAND', text: 'spin 2; echo one  two; nothing\r' },
      { after: 'nothing: not found', text: 'cat /etc/rc /proc/cmdline /none\r' },
      { after: '/none: not found', text: 'selftest\r' },
      { after: 'selftest:', text: 'exit\r' },
      { after: 'starting another', text: 'poweroff\r' },
    ],
  },
];

export const qemuAvailable = (): boolean => spawnSync(QEMU, ['--version']).status === 0;

/** Types each text once what it waits for has appeared behind the last one. */
export class Typist {
  readonly #steps: { readonly after: string; readonly text: string }[];
  #seen = 0;

  constructor(steps: Recording['typed'] = []) {
    this.#steps = [...steps];
  }

  /** `console` is everything so far; returns what to type now. */
  next(console: string): string | undefined {
    const step = this.#steps[0];
    if (!step) return undefined;
    const at = console.indexOf(step.after, this.#seen);
    // A prompt has to follow as well: the shell reads its line only then.
    const prompt = at < 0 ? -1 : console.indexOf('# ', at);
    if (prompt < 0) return undefined;
    this.#seen = prompt + 2;
    this.#steps.shift();
    return step.text;
  }
}

/** Console text of one run. Throws when QEMU does not end within the time. */
export function runQemu(recording: Recording, extra: readonly string[] = [], timeoutMs = 60_000): Promise<string> {
  const args = ['-kernel', IMAGE, '-append', recording.append, '-m', '64', '-no-reboot', '-display', 'none'];
  const child = spawn(QEMU, [...args, '-serial', 'stdio', '-monitor', 'none', '-net', 'none', ...extra], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const typist = new Typist(recording.typed);
  let text = '';
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill();
      reject(new Error(`QEMU did not end within ${timeoutMs} ms; its console so far:\n${text}`));
    }, timeoutMs);
    child.stdout.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      const typed = typist.next(text);
      if (typed !== undefined) child.stdin.write(typed);
    });
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
}
