/* sleep: so many seconds. */
#include "lib/libc.h"

int main(int argc, char **argv)
{
	sleep_ms(1000 * parse_number(argc > 1 ? argv[1] : NULL, 1));
	return 0;
}
