/* init: runs the start-up scripts, then the programs of `run=` or a shell; reaps orphans. */
#include "lib/libc.h"

#define WORDS_MAX 16

static void run_script(char *path)
{
	char *argv[] = { "sh", path, NULL };

	run_program(argv);
}

/* `run=NAME[,NAME...]`: one after the other, then off. */
static void run_list(char *names)
{
	while (*names) {
		char *argv[2] = { names, NULL }, *comma = strchr(names, ',');

		names = comma ? comma + 1 : names + strlen(names);
		if (comma)
			*comma = 0;
		if (*argv[0])
			run_reported(argv);
	}
	printf("init: done, powering off\n");
	power_off();
}

int main(void)
{
	char *shell[] = { "sh", NULL }, *run;

	printf("init: started\n");
	run_script("/etc/rc");
	run_script("/etc/rc.local");
	report("vmitop: boot done");
	run = getenv("run");
	if (run)
		run_list(run);
	for (;;) {
		run_program(shell);
		printf("init: the shell ended, starting another\n");
	}
}
