/* Memory and strings. The compiler also calls the first four by itself. */
#include <linux/kernel.h>

void *memcpy(void *to, const void *from, size_t bytes)
{
	u32 d0, d1, d2;

	__asm__ volatile("rep; movsl\n\tmovl %4, %%ecx\n\tandl $3, %%ecx\n\trep; movsb"
			 : "=&c"(d0), "=&D"(d1), "=&S"(d2)
			 : "0"(bytes / 4), "g"(bytes), "1"(to), "2"(from)
			 : "memory", "cc");
	return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
	char *t = to;
	const char *f = from;

	if (t <= f || t >= f + bytes)
		return memcpy(to, from, bytes);
	while (bytes--)
		t[bytes] = f[bytes];
	return to;
}

void *memset(void *at, int byte, size_t bytes)
{
	u32 d0, d1, pattern = (u32)(byte & 0xff) * 0x01010101u;

	__asm__ volatile("rep; stosl\n\tmovl %3, %%ecx\n\tandl $3, %%ecx\n\trep; stosb"
			 : "=&c"(d0), "=&D"(d1)
			 : "0"(bytes / 4), "g"(bytes), "1"(at), "a"(pattern)
			 : "memory", "cc");
	return at;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const u8 *p = a, *q = b;

	for (; bytes; bytes--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t strlen(const char *s)
{
	const char *at = s;

	while (*at)
		at++;
	return (size_t)(at - s);
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++)
		if (*a != *b || !*a)
			return (u8)*a - (u8)*b;
	return 0;
}

char *strchr(const char *s, int c)
{
	for (; *s; s++)
		if (*s == (char)c)
			return (char *)s;
	return NULL;
}

u32 simple_strtoul(const char *s, const char **end)
{
	u32 value = 0;

	while (*s >= '0' && *s <= '9')
		value = value * 10 + (u32)(*s++ - '0');
	if (end)
		*end = s;
	return value;
}
