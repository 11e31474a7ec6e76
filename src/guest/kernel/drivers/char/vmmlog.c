/*
 * /dev/vmmlog: each write becomes a "log" message to the virtual machine's log file, through VMware's backdoor port with its
 * low-bandwidth message channel (RPCI). Without a backdoor, or without messages behind it, writes are dropped.
 *
 * A command: EAX = magic, EBX = argument, ECX = command (message type in the high half), EDX = port (channel in the high half),
 * ESI and EDI = the channel's cookie. Status comes back in the high half of ECX: bit 0 success.
 */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>

#define BDOOR_MAGIC 0x564d5868
#define BDOOR_PORT 0x5658
#define BDOOR_CMD_GETVERSION 10
#define BDOOR_CMD_MESSAGE 30
#define MESSAGE_OPEN 0
#define MESSAGE_SEND_SIZE 1
#define MESSAGE_SEND_PAYLOAD 2
#define MESSAGE_CLOSE 6
#define RPCI_PROTOCOL 0x49435052
#define MESSAGE_FLAG_COOKIE 0x80000000
#define STATUS_SUCCESS 0x0001
#define LOG_BYTES 120

struct backdoor {
	u32 eax, ebx, ecx, edx, esi, edi;
};

static int present;

static void backdoor(struct backdoor *b)
{
	b->eax = BDOOR_MAGIC;
	__asm__ volatile("inl %%dx, %%eax"
			 : "+a"(b->eax), "+b"(b->ebx), "+c"(b->ecx), "+d"(b->edx), "+S"(b->esi), "+D"(b->edi)
			 : : "memory");
}

void vmmlog_init(void)
{
	struct backdoor b = { .ebx = ~BDOOR_MAGIC, .ecx = BDOOR_CMD_GETVERSION, .edx = BDOOR_PORT };

	backdoor(&b);
	present = b.ebx == BDOOR_MAGIC;
}

/* One message; `channel` keeps number and cookie from the open on. */
static int message(struct backdoor *channel, u32 type, u32 argument)
{
	struct backdoor b = *channel;

	b.ebx = argument;
	b.ecx = BDOOR_CMD_MESSAGE | type << 16;
	b.edx = (channel->edx & 0xffff0000) | BDOOR_PORT;
	backdoor(&b);
	if (!(b.ecx >> 16 & STATUS_SUCCESS))
		return 0;
	if (type == MESSAGE_OPEN)
		*channel = b;
	return 1;
}

static void send_log(const char *text, u32 bytes)
{
	struct backdoor channel = { 0 };
	u32 at, word;

	if (!present || !message(&channel, MESSAGE_OPEN, RPCI_PROTOCOL | MESSAGE_FLAG_COOKIE))
		return;
	if (message(&channel, MESSAGE_SEND_SIZE, bytes)) {
		for (at = 0; at < bytes; at += 4) {
			word = 0;
			memcpy(&word, text + at, min_u32(4, bytes - at));
			if (!message(&channel, MESSAGE_SEND_PAYLOAD, word))
				break;
		}
	}
	message(&channel, MESSAGE_CLOSE, 0);
}

static int vmmlog_write(struct file *file, u32 buffer, u32 bytes)
{
	char text[4 + LOG_BYTES] = "log ";
	u32 n = min_u32(bytes, LOG_BYTES);

	(void)file;
	if (copy_from_user(text + 4, buffer, n))
		return -EFAULT;
	while (n && text[4 + n - 1] == '\n')
		n--;
	if (n)
		send_log(text, 4 + n);
	return (int)bytes;
}

const struct file_operations vmmlog_fops = { .write = vmmlog_write };
