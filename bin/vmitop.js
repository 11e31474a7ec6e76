#!/usr/bin/env node
// The launcher: checks what the rest takes for granted, in syntax that any Node can read, then loads the program.
import { existsSync } from 'node:fs';
import process from 'node:process';

const [major, minor] = process.versions.node.split('.').map(Number);
const main = new URL('../dist/cli/main.js', import.meta.url);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`vmitop: Node ${process.versions.node} is too old, 20.19 or newer is needed\n`);
  process.exitCode = 2;
} else if (!existsSync(main)) {
  process.stderr.write('vmitop: dist/ is missing: run `npm run build` first\n');
  process.exitCode = 2;
} else {
  // React's development build costs twice the time and keeps a list that only grows: decided before it is loaded.
  process.env.NODE_ENV = 'production';
  try {
    await import(main.href);
  } catch (error) {
    process.stderr.write(`vmitop: cannot be loaded: ${error.message}\n`);
    process.exitCode = 70;
  }
}
