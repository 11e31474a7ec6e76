/* Linear addresses that assembly and C agree on. */
#define ABSENT_PAGE 0x3fe000
#define TOUCHED_PAGE 0x3ff000
