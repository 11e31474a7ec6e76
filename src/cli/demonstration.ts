/**
 * What `vmitop record` does without a terminal and without a script, on the default inventory: guests boot, one runs a program
 * under VMI, loses VMI at a restart, and runs the program again under binary translation.
 */
export const DEMONSTRATION = `
at 0 interval 10
when web01 idle
when web02 idle
when web01 idle run web01 getppid
when web01 idle vmi web01 off
at 0 power-off web01
at 0 power-on web01
when web01 idle run web01 getppid
when web02 idle run web02 segv
when web01 idle
when web02 idle end
`;
