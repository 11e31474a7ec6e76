/* Printing, strings and the end of everything. */
#ifndef LINUX_KERNEL_H
#define LINUX_KERNEL_H

#include <linux/types.h>
#include <stdarg.h>

struct pt_regs;

void printk(const char *format, ...) __attribute__((format(printf, 1, 2)));
int vsnprintf(char *buffer, size_t size, const char *format, va_list args);
int snprintf(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
void panic(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void oops(const char *what, struct pt_regs *regs, u32 error_code) __noreturn;

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *at, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
u32 simple_strtoul(const char *s, const char **end);

/* dividend / divisor for a 64-bit dividend; the remainder goes to *rest when it is not NULL. */
static inline u64 div_u64(u64 dividend, u32 divisor, u32 *rest)
{
	u32 high = dividend >> 32, low = (u32)dividend, high_quotient = high / divisor, remainder;

	high %= divisor;
	__asm__("divl %4" : "=a"(low), "=d"(remainder) : "0"(low), "1"(high), "rm"(divisor) : "cc");
	if (rest)
		*rest = remainder;
	return ((u64)high_quotient << 32) | low;
}

static inline u32 min_u32(u32 a, u32 b) { return a < b ? a : b; }
static inline u32 max_u32(u32 a, u32 b) { return a > b ? a : b; }

#endif
