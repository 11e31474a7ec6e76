/* Strings and formatted output. */
#include "libc.h"

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

void *memcpy(void *to, const void *from, size_t bytes)
{
	void *t = to;

	__asm__ volatile("rep; movsb" : "+D"(t), "+S"(from), "+c"(bytes) : : "memory");
	return to;
}

void *memset(void *at, int byte, size_t bytes)
{
	void *t = at;

	__asm__ volatile("rep; stosb" : "+D"(t), "+c"(bytes) : "a"(byte) : "memory");
	return at;
}

u32 parse_number(const char *s, u32 otherwise)
{
	u32 value = 0;

	if (!s || *s < '0' || *s > '9')
		return otherwise;
	while (*s >= '0' && *s <= '9')
		value = value * 10 + (u32)(*s++ - '0');
	return value;
}

struct output {
	char *at, *end;
	int length;
};

static void put(struct output *out, char c)
{
	if (out->at < out->end)
		*out->at++ = c;
	out->length++;
}

static void put_field(struct output *out, const char *s, int n, int width, char pad)
{
	for (; width > n; width--)
		put(out, pad);
	while (n--)
		put(out, *s++);
}

static void put_number(struct output *out, u32 value, u32 base, int negative, int width, char pad)
{
	char digits[12];
	int n = sizeof(digits);

	do {
		digits[--n] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative)
		digits[--n] = '-';
	put_field(out, digits + n, (int)sizeof(digits) - n, width, pad);
}

int vsnprintf(char *buffer, size_t size, const char *format, va_list args)
{
	struct output out = { buffer, buffer + size - 1, 0 };

	for (; *format; format++) {
		char pad = ' ';
		int width = 0, number;
		const char *s;

		if (*format != '%') {
			put(&out, *format);
			continue;
		}
		if (*++format == '0')
			pad = '0', format++;
		while (*format >= '0' && *format <= '9')
			width = width * 10 + *format++ - '0';
		switch (*format) {
		case 's':
			s = va_arg(args, const char *);
			put_field(&out, s, (int)strlen(s), width, ' ');
			break;
		case 'c':
			put(&out, (char)va_arg(args, int));
			break;
		case 'd':
			number = va_arg(args, int);
			put_number(&out, number < 0 ? -(u32)number : (u32)number, 10, number < 0, width, pad);
			break;
		case 'u':
			put_number(&out, va_arg(args, u32), 10, 0, width, pad);
			break;
		case 'x':
			put_number(&out, va_arg(args, u32), 16, 0, width, pad);
			break;
		default:
			put(&out, *format);
		}
	}
	*out.at = 0;
	return out.length;
}

int snprintf(char *buffer, size_t size, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(buffer, size, format, args);
	va_end(args);
	return n;
}

int printf(const char *format, ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n > (int)sizeof(line) - 1)
		n = (int)sizeof(line) - 1;
	return write(1, line, (size_t)n);
}
