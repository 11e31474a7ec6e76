/* printf for the kernel: %s %c %d %u %x, width and zero padding, ll, %%. */
#include <linux/kernel.h>

struct output {
	char *at, *end; /* one byte is kept for the NUL */
	u32 length;
};

static void put(struct output *out, char c)
{
	if (out->at < out->end)
		*out->at++ = c;
	out->length++;
}

static void put_padded(struct output *out, const char *s, u32 length, u32 width, char pad)
{
	for (; width > length; width--)
		put(out, pad);
	while (length--)
		put(out, *s++);
}

static void put_number(struct output *out, u64 value, u32 base, int negative, u32 width, char pad)
{
	char digits[24];
	u32 n = sizeof(digits), rest;

	do {
		value = div_u64(value, base, &rest);
		digits[--n] = "0123456789abcdef"[rest];
	} while (value);
	if (negative)
		digits[--n] = '-';
	put_padded(out, digits + n, sizeof(digits) - n, width, pad);
}

int vsnprintf(char *buffer, size_t size, const char *format, va_list args)
{
	struct output out = { buffer, buffer + (size ? size - 1 : 0), 0 };

	for (; *format; format++) {
		char pad = ' ';
		u32 width = 0, longs = 0;
		const char *s;
		int number;

		if (*format != '%') {
			put(&out, *format);
			continue;
		}
		if (*++format == '0')
			pad = '0', format++;
		while (*format >= '0' && *format <= '9')
			width = width * 10 + (u32)(*format++ - '0');
		while (*format == 'l')
			longs++, format++;
		switch (*format) {
		case 's':
			s = va_arg(args, const char *);
			put_padded(&out, s, strlen(s), width, ' ');
			break;
		case 'c':
			put(&out, (char)va_arg(args, int));
			break;
		case 'd':
			number = va_arg(args, int);
			put_number(&out, number < 0 ? 0u - (u32)number : (u32)number, 10, number < 0, width, pad);
			break;
		case 'u':
		case 'x':
			put_number(&out, longs == 2 ? va_arg(args, u64) : va_arg(args, u32), *format == 'u' ? 10 : 16, 0, width,
				   pad);
			break;
		default:
			put(&out, *format);
		}
	}
	if (size)
		*out.at = 0;
	return (int)out.length;
}

int snprintf(char *buffer, size_t size, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(buffer, size, format, args);
	va_end(args);
	return length;
}
