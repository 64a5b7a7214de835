/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups of real processes (peer.c) for C suites.
 *
 * The harness keeps what callers were told about each device; check_agree() compares that with what
 * every living process lists. A case that fails leaves its processes to the next group_open(), or to
 * the end of the program.
 */
#ifndef GROUP_H
#define GROUP_H

#include <sys/types.h>

#include "harness.h"

#define PEERS 24
#define DEVICES 16
#define NAME_SIZE 64
#define LINE_SIZE 8192
#define PATH_SIZE 4096
/* Only a hang takes so long. */
#define LIMIT_S 60
#define MOST_CASES 256
/* The result of drivers that fail; and of an operation in which a process is silent. */
#define FAILS (-EIO)
#define SILENT (-ENOMSG)

/* How a process is started. */
enum { PRIMARY = 1, STOCK = 2, UNREADY = 4 };

struct peer {
	pid_t pid; /* 0: none */
	bool primary, stock, ended, stopped;
	int in, out, log;
	char line[LINE_SIZE]; /* the last answer */
	char unread[4 * LINE_SIZE];
	size_t size;
};

extern struct group {
	bool hosted, fake; /* fake: inside the fake EAL */
	const char *program, *library;
	const char *linked, *which; /* see group_use_linked() */
	/* Of the present case. */
	struct peer peers[PEERS];
	size_t count;
	pid_t children[PEERS]; /* forked by peers */
	size_t child_count;
	char devices[DEVICES][NAME_SIZE]; /* attached, as callers were told */
	char prefix[NAME_SIZE], directory[PATH_SIZE];
	int signals;
	unsigned int number;
	bool someone_killed;
	const char *file; /* where the case is, for messages */
	int line;
} group;

#define GROUP_FAIL(...)                                                                            \
	do {                                                                                       \
		printf("# %s:%d: ", group.file, group.line);                                       \
		printf(__VA_ARGS__);                                                               \
		printf("\n");                                                                      \
		harness_failed = true;                                                             \
		longjmp(harness_next, 1);                                                          \
	} while (0)

/* The line of the case is worth more than that of a function in here. */
#define AT (group.file = __FILE__, group.line = __LINE__)

double group_now(void);
void group_nap(void);

/* Once, at the start of the program. */
void group_begin(bool hosted, const char *program, const char *library);
/*
 * Processes that would get the library under LD_PRELOAD are another program, which has it and DPDK
 * linked in: "all" of them, or those that are started in a case with an "even" number, as the first
 * one, or an "odd" one.
 */
void group_use_linked(const char *program, const char *which);
/* A case of the program: run(what), under this name. */
void __attribute__((format(printf, 3, 4)))
group_add_case(void (*run)(const void *what), const void *what, const char *name, ...);
/* Runs all cases in the order in which they were added: the exit status. */
int group_run_cases(void);

/* A new, empty group; ends the one before, which a failure has left. */
void group_open(void);
/* The end of a case that went well: every process has to end well, the primary last. */
void group_close(void);
/* Ends everything at once. */
void group_kill(void);
/* The environment of processes that are started from now on; group_open() clears it. */
bool group_setenv(const char *name, const char *value);
void group_remove_files(const char *directory, const char *prefix);

/* Starts a process; UNREADY leaves the wait_ready() to the caller. */
struct peer *start_peer(int flags, const char *extra);
void wait_ready(struct peer *peer);
/* Lets a process clean up and end. */
void quit_peer(struct peer *peer);
void stop_peer(struct peer *peer);
void continue_peer(struct peer *peer);
void kill_peer(struct peer *peer);
/* It kills itself, as told. */
void wait_killed(struct peer *peer);
void wait_end(struct peer *peer, int expected);
/* Ends it at once, if it has not ended. */
void end_peer(struct peer *peer);
/* Has the peer fork a child that outlives it. */
void fork_peer(struct peer *peer);

/* Sends a command whose answer is taken later, with answer_of(). */
void __attribute__((format(printf, 2, 3))) tell(struct peer *peer, const char *format, ...);
/* Sends a command and returns its answer. */
const char *__attribute__((format(printf, 2, 3))) ask(struct peer *peer, const char *format, ...);
/* The answer to the oldest command that has none. */
const char *answer_of(struct peer *peer);
/* The next line that begins with the mark, without it; others are kept. */
const char *take_line(struct peer *peer, char mark);

/* Callers have been told so. */
void now_attached(const char *devargs);
void now_detached(const char *devargs);
int told(bool attach, const char *devargs, int code);
/* An attach or detach, by this process's main thread: the result. */
int operate(struct peer *by, bool attach, const char *devargs);
/* The same in a thread of its own; finished() waits for its end. */
void begin(struct peer *by, bool attach, const char *devargs);
/* The result of the next one that ends. */
int finished(struct peer *by);

/* How often the driver's probe has run, its remove, and what a nested call returned. */
struct counts {
	int probes, removes, nested;
};

struct counts counts_of(struct peer *peer);
/* A counter of the "statistics" command. */
long statistic(struct peer *peer, const char *name);
/* How the driver of a process behaves from now on: see peer_driver.c. */
void __attribute__((format(printf, 2, 3))) behave(struct peer *peer, const char *format, ...);

/* The process lists these devices, separated by blanks. */
void do_check_lists(struct peer *peer, const char *devices);
/* It will list them; nobody waits for what it still does. */
void do_wait_lists(struct peer *peer, const char *devices);
/* Every living process has what the callers were told, and besides, itself, these. */
void do_check_agree(struct peer *owner, const char *private_devices);
void do_expect_code(const char *what, int code, int expected);
void do_wait_state(struct peer *seen_by, struct peer *peer, int state);
void do_wait_probes(struct peer *peer, int probes);

#define check_agree() ((void)AT, do_check_agree(NULL, ""))
#define check_agree_but(owner, devices) ((void)AT, do_check_agree(owner, devices))
#define check_lists(peer, devices) ((void)AT, do_check_lists(peer, devices))
#define wait_lists(peer, devices) ((void)AT, do_wait_lists(peer, devices))
#define wait_state(seen_by, peer, state) ((void)AT, do_wait_state(seen_by, peer, state))
#define wait_probes(peer, probes) ((void)AT, do_wait_probes(peer, probes))
#define attach(by, devargs, code) \
	((void)AT, do_expect_code("attach " devargs, operate(by, true, devargs), code))
#define detach(by, name, code) \
	((void)AT, do_expect_code("detach " name, operate(by, false, name), code))
#define finishes(by, code) ((void)AT, do_expect_code("the call", finished(by), code))

#endif /* GROUP_H */
