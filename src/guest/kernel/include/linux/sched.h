/* Tasks, wait queues and the scheduler. Assembly reads the first part. */
#ifndef LINUX_SCHED_H
#define LINUX_SCHED_H

/* task_struct.work, tested at every return to user mode; it is the first member. */
#define TASK_WORK 0
#define WORK_NEED_RESCHED 1
#define WORK_SIGPENDING 2
#define WORK_MASK 3

#define KERNEL_STACK_BYTES 4096

#ifndef __ASSEMBLER__
#include <linux/list.h>
#include <linux/signal.h>
#include <asm/processor.h>

#define TASK_RUNNING 0
#define TASK_INTERRUPTIBLE 1
#define TASK_ZOMBIE 3
#define TASK_DEAD 4

#define CLONE_VM 0x00000100
#define CLONE_FS 0x00000200
#define CLONE_FILES 0x00000400
#define CLONE_SIGHAND 0x00000800
#define CLONE_THREAD 0x00010000
#define CLONE_PARENT_SETTID 0x00100000
#define CLONE_CHILD_CLEARTID 0x00200000
#define CLONE_CHILD_SETTID 0x01000000

#define TIME_SLICE_MS 100

struct mm_struct;
struct files_struct;

struct wait_entry {
	struct list_head link;
	struct task_struct *task;
};

struct wait_queue {
	struct list_head waiters;
};

/* Handlers, shared between threads that were cloned with CLONE_SIGHAND. */
struct sighand_struct {
	u32 count;
	struct k_sigaction action[NSIG];
};

struct task_struct {
	u32 work;
	volatile u32 state;
	pid_t pid, tgid;
	struct mm_struct *mm;        /* NULL for the idle task and after exit */
	struct mm_struct *active_mm; /* what CR3 holds: borrowed when mm is NULL */
	struct files_struct *files;
	struct sighand_struct *sighand;
	u32 pending, blocked;
	struct siginfo fault_info; /* for the last forced signal */
	struct thread_struct thread;
	u32 stack; /* lowest address of the kernel stack page */
	int time_slice; /* ticks left */
	struct list_head run_list;
	struct list_head tasks;    /* every task */
	struct list_head children; /* of this task: list of sibling */
	struct list_head sibling;
	struct task_struct *parent;
	struct task_struct *group_leader;
	struct wait_queue child_exit; /* where wait4 sleeps */
	int exit_code;
	u32 thread_count; /* of the leader: other threads that still run; it is reaped after the last */
	int group_exit; /* of the leader: exit_code holds for all threads */
	u32 clear_child_tid;
	u32 ticks; /* of CPU time, for ps */
	char comm[16];
};

extern struct task_struct *current_task;
#define current current_task
extern struct task_struct idle_task;
extern struct list_head all_tasks;

#define WAIT_QUEUE(name) struct wait_queue name = { { &(name).waiters, &(name).waiters } }

void sched_init(void);
void schedule(void);
void schedule_tail(struct task_struct *prev);
void scheduler_tick(void);
void yield_cpu(void);
void wake_up_process(struct task_struct *task);
void wake_up_new_task(struct task_struct *task);
void wake_up(struct wait_queue *queue);
void wait_queue_init(struct wait_queue *queue);
void prepare_to_wait(struct wait_queue *queue, struct wait_entry *entry);
void finish_wait(struct wait_queue *queue, struct wait_entry *entry);
static inline int signal_pending(struct task_struct *task) { return (task->work & WORK_SIGPENDING) != 0; }
static inline void set_need_resched(void) { current->work |= WORK_NEED_RESCHED; }
static inline int need_resched(void) { return (current->work & WORK_NEED_RESCHED) != 0; }

/* Sleeps until `condition`; evaluates to 0, or -EINTR when a signal came first. */
#define wait_event_interruptible(queue, condition)                          \
	({                                                                   \
		struct wait_entry entry_;                                    \
		int result_ = 0;                                             \
		for (;;) {                                                   \
			prepare_to_wait(queue, &entry_);                     \
			if (condition)                                       \
				break;                                       \
			if (signal_pending(current)) {                       \
				result_ = -EINTR;                            \
				break;                                       \
			}                                                    \
			schedule();                                          \
			finish_wait(queue, &entry_);                         \
		}                                                            \
		finish_wait(queue, &entry_);                                 \
		result_;                                                     \
	})

int do_fork(u32 clone_flags, u32 stack, struct pt_regs *regs, u32 parent_tid, u32 child_tid);
struct task_struct *kernel_task(void (*start)(void), const char *name);
void do_exit(int code) __noreturn;
void do_group_exit(int code) __noreturn;
void release_task(struct task_struct *task);
void free_task(struct task_struct *task);
struct task_struct *find_task(pid_t pid);
int do_execve(const char *path, const char *const *argv, const char *const *envp, int user_strings, struct pt_regs *regs);
int futex_wake_address(u32 address, u32 count);
#endif

#endif
