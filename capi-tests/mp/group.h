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

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define PEERS 24
#define DEVICES 16
#define NAME_SIZE 64
#define LINE_SIZE 8192
#define PATH_SIZE 4096
/* Only a hang takes so long. */
#define LIMIT_S 60

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

static struct {
	bool hosted;
	const char *program, *library;
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
	int line; /* of the case, for messages */
} group;

/* The environment of processes that are started from now on; group_open() clears it. */
static char group_environment[4][NAME_SIZE];

#define GROUP_FAIL(...)                                                                            \
	do {                                                                                       \
		printf("# line %d: ", group.line);                                                 \
		printf(__VA_ARGS__);                                                               \
		printf("\n");                                                                      \
		harness_failed = true;                                                             \
		longjmp(harness_next, 1);                                                          \
	} while (0)

/* The line of the case is worth more than that of a function in here. */
#define AT (group.line = __LINE__)

static inline double group_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static inline void group_nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5 * 1000 * 1000 }, NULL);
}

static inline bool group_setenv(const char *name, const char *value)
{
	for (size_t i = 0; i < sizeof(group_environment) / sizeof(group_environment[0]); i++) {
		if (group_environment[i][0] == '\0') {
			snprintf(group_environment[i], NAME_SIZE, "%s", name);
			return setenv(name, value, 1) == 0;
		}
	}
	return false;
}

/* What DPDK and the embedded runtime leave behind: flat directories. */
static inline void group_remove_files(const char *directory, const char *prefix)
{
	DIR *entries = opendir(directory);
	struct dirent *entry;

	while (entries != NULL && (entry = readdir(entries)) != NULL)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			unlinkat(dirfd(entries), entry->d_name, 0);
	if (entries != NULL)
		closedir(entries);
}

static inline void group_clean(void)
{
	char pages[2 * NAME_SIZE];

	if (group.prefix[0] == '\0')
		return;
	group_remove_files(group.directory, "");
	rmdir(group.directory);
	if (group.hosted) {
		snprintf(pages, sizeof(pages), "%smap_", group.prefix);
		group_remove_files("/dev/hugepages", pages);
	}
	group.prefix[0] = '\0';
}

static inline void end_peer(struct peer *peer)
{
	if (peer->pid != 0 && !peer->ended) {
		kill(peer->pid, SIGKILL);
		waitpid(peer->pid, NULL, 0);
		peer->ended = true;
	}
	if (peer->in >= 0)
		close(peer->in);
	if (peer->out >= 0)
		close(peer->out);
	peer->in = peer->out = -1;
}

/* Ends everything at once. */
static inline void group_kill(void)
{
	for (size_t i = group.count; i-- > 0;) {
		end_peer(&group.peers[i]);
		close(group.peers[i].log);
	}
	for (size_t i = 0; i < group.child_count; i++)
		kill(group.children[i], SIGKILL);
	group.count = group.child_count = 0;
	group_clean();
}

/* What the processes wrote last, for one who looks for a failure's cause. */
static inline void group_show_log(void)
{
	for (size_t i = 0; i < group.count; i++) {
		char text[4096];
		off_t size = lseek(group.peers[i].log, 0, SEEK_END);
		off_t from = size > (off_t)sizeof(text) ? size - (off_t)sizeof(text) : 0;
		ssize_t length = pread(group.peers[i].log, text, sizeof(text) - 1, from);

		text[length > 0 ? length : 0] = '\0';
		for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
			printf("# %d: %s\n", (int)group.peers[i].pid, line);
	}
}

/* Once, at the start of the program. */
static inline void group_begin(bool hosted, const char *program, const char *library)
{
	sigset_t ends;

	group.hosted = hosted;
	group.program = program;
	/* The linker takes a name without a slash for one to look for. */
	group.library = library != NULL ? realpath(library, NULL) : NULL;
	if (library != NULL && group.library == NULL) {
		printf("Bail out! %s: %s\n", library, strerror(errno));
		exit(EXIT_FAILURE);
	}
	/* Whoever ends this program early, meson for one, gets everything cleaned up. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	group.signals = signalfd(-1, &ends, SFD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	if (group.signals < 0) {
		printf("Bail out! cannot start: %s\n", strerror(errno));
		exit(EXIT_FAILURE);
	}
	atexit(group_kill);
}

static inline void group_exec(int flags, const char *extra, int in, int out, int log)
{
	static char lcore[32];
	const char *arguments[24] = { group.program, "--file-prefix", group.prefix, "--no-pci",
				      "--proc-type", flags & PRIMARY ? "primary" : "secondary" };
	char words[LINE_SIZE];
	size_t count = 6;
	sigset_t none;

	if (group.hosted) {
		long processors = sysconf(_SC_NPROCESSORS_ONLN);

		snprintf(lcore, sizeof(lcore), "%ld",
			 (long)group.count % (processors > 0 ? processors : 1));
		arguments[count++] = "-l";
		arguments[count++] = lcore;
		if (flags & PRIMARY) {
			arguments[count++] = "-m";
			arguments[count++] = "64";
		}
		if (!(flags & STOCK))
			setenv("LD_PRELOAD", group.library, 1);
	}
	snprintf(words, sizeof(words), "%s", extra != NULL ? extra : "");
	for (char *word = strtok(words, " "); word != NULL && count < 23; word = strtok(NULL, " "))
		arguments[count++] = word;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execv(group.program, (char *const *)arguments);
	_exit(127);
}

/* Waits for more of what the process writes. */
static inline void read_more(struct peer *peer, double until)
{
	struct pollfd fds[2] = {
		{ .fd = peer->out, .events = POLLIN },
		{ .fd = group.signals, .events = POLLIN },
	};
	double left = until - group_now();
	int ready = poll(fds, 2, left > 0 ? (int)(left * 1000) + 1 : 0);
	ssize_t length;

	if (ready > 0 && fds[1].revents != 0) {
		printf("Bail out! interrupted\n");
		exit(EXIT_FAILURE);
	}
	if (ready == 0 && group_now() >= until)
		GROUP_FAIL("process %d has not answered within %d s", (int)peer->pid, LIMIT_S);
	if (ready <= 0)
		return;
	if (peer->size == sizeof(peer->unread) - 1)
		GROUP_FAIL("process %d says too much", (int)peer->pid);
	length = read(peer->out, peer->unread + peer->size, sizeof(peer->unread) - 1 - peer->size);
	if (length <= 0) {
		int status = 0;

		waitpid(peer->pid, &status, 0);
		peer->ended = true;
		GROUP_FAIL("process %d%s has ended with status %#x", (int)peer->pid,
			   peer->primary ? " (primary)" : "", (unsigned int)status);
	}
	peer->size += (size_t)length;
	peer->unread[peer->size] = '\0';
}

/* The next line that begins with the mark, without it; others are kept. */
static inline const char *take_line(struct peer *peer, char mark)
{
	double until = group_now() + LIMIT_S;

	for (;;) {
		char *line = peer->unread, *end;

		while ((end = memchr(line, '\n', (size_t)(peer->unread + peer->size - line)))) {
			if (line[0] == mark) {
				snprintf(peer->line, sizeof(peer->line), "%.*s",
					 (int)(end - line - 1), line + 1);
				peer->size -= (size_t)(end + 1 - line);
				memmove(line, end + 1,
					(size_t)(peer->unread + peer->size - line));
				return peer->line;
			}
			line = end + 1;
		}
		read_more(peer, until);
	}
}

/* The answer to the oldest command that has none. */
static inline const char *answer_of(struct peer *peer)
{
	return take_line(peer, '=');
}

static inline void send_line(struct peer *peer, const char *format, va_list arguments)
{
	char line[LINE_SIZE];
	int length = vsnprintf(line, sizeof(line) - 1, format, arguments);

	line[length++] = '\n';
	if (write(peer->in, line, (size_t)length) != length)
		GROUP_FAIL("process %d takes no commands: %s", (int)peer->pid, strerror(errno));
}

/* Sends a command whose answer is taken later, with answer_of(). */
static inline void __attribute__((format(printf, 2, 3)))
tell(struct peer *peer, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	send_line(peer, format, arguments);
	va_end(arguments);
}

/* Sends a command and returns its answer. */
static inline const char *__attribute__((format(printf, 2, 3)))
ask(struct peer *peer, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	send_line(peer, format, arguments);
	va_end(arguments);
	return answer_of(peer);
}

static inline void wait_ready(struct peer *peer)
{
	const char *answer = answer_of(peer);

	if (strcmp(answer, "ready") != 0)
		GROUP_FAIL("process %d says \"%s\"", (int)peer->pid, answer);
}

/* Starts a process; UNREADY leaves the wait_ready() to the caller. */
static inline struct peer *start_peer(int flags, const char *extra)
{
	struct peer *peer = &group.peers[group.count];
	int to[2], from[2];

	if (group.count == PEERS || pipe2(to, O_CLOEXEC) != 0)
		GROUP_FAIL("too many processes");
	if (pipe2(from, O_CLOEXEC) != 0) {
		close(to[0]);
		close(to[1]);
		GROUP_FAIL("no pipe: %s", strerror(errno));
	}
	memset(peer, 0, sizeof(*peer));
	peer->primary = flags & PRIMARY;
	peer->stock = flags & STOCK;
	peer->log = memfd_create("log", MFD_CLOEXEC);
	fflush(stdout);
	peer->pid = fork();
	if (peer->pid == 0)
		group_exec(flags, extra, to[0], from[1], peer->log);
	close(to[0]);
	close(from[1]);
	peer->in = to[1];
	peer->out = from[0];
	group.count++;
	if (peer->pid < 0) {
		peer->pid = 0;
		GROUP_FAIL("cannot fork: %s", strerror(errno));
	}
	if (!(flags & UNREADY))
		wait_ready(peer);
	return peer;
}

static inline void group_name(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		runtime = "/var/run";
	snprintf(group.prefix, sizeof(group.prefix), "hotplug_cases_%d_%u", (int)getpid(),
		 ++group.number);
	snprintf(group.directory, sizeof(group.directory), "%s/dpdk/%s",
		 runtime != NULL ? runtime : "/tmp", group.prefix);
}

/* A new, empty group; ends the one before, which a failure has left. */
static inline void group_open(void)
{
	if (group.count > 0)
		group_show_log();
	group_kill();
	for (size_t i = 0; i < sizeof(group_environment) / sizeof(group_environment[0]); i++) {
		if (group_environment[i][0] != '\0')
			unsetenv(group_environment[i]);
		group_environment[i][0] = '\0';
	}
	memset(group.devices, 0, sizeof(group.devices));
	group.someone_killed = false;
	group_name();
}

static inline void wait_end(struct peer *peer, int expected)
{
	int status = 0;

	/* Its output ends with it. */
	peer->size = 0;
	for (double until = group_now() + LIMIT_S; !peer->ended;) {
		if (waitpid(peer->pid, &status, WNOHANG) == peer->pid)
			peer->ended = true;
		else if (group_now() > until)
			GROUP_FAIL("process %d does not end", (int)peer->pid);
		else
			group_nap();
	}
	if (status != expected)
		GROUP_FAIL("process %d ended with status %#x", (int)peer->pid, (unsigned int)status);
	end_peer(peer);
}

/* Lets a process clean up and end. */
static inline void quit_peer(struct peer *peer)
{
	const char *answer = ask(peer, "quit");

	if (strcmp(answer, "0") != 0)
		GROUP_FAIL("rte_eal_cleanup of process %d: %s", (int)peer->pid, answer);
	wait_end(peer, 0);
}

static inline void stop_peer(struct peer *peer)
{
	int status;

	kill(peer->pid, SIGSTOP);
	if (waitpid(peer->pid, &status, WUNTRACED) != peer->pid || !WIFSTOPPED(status))
		GROUP_FAIL("process %d cannot be stopped", (int)peer->pid);
	peer->stopped = true;
}

static inline void continue_peer(struct peer *peer)
{
	kill(peer->pid, SIGCONT);
	peer->stopped = false;
}

static inline void kill_peer(struct peer *peer)
{
	group.someone_killed = true;
	kill(peer->pid, SIGKILL);
	wait_end(peer, SIGKILL);
}

/* It kills itself, as told. */
static inline void wait_killed(struct peer *peer)
{
	group.someone_killed = true;
	wait_end(peer, SIGKILL);
}

/* Has the peer fork a child that outlives it. */
static inline void fork_peer(struct peer *peer)
{
	group.children[group.child_count++] = atoi(ask(peer, "fork"));
}

/* Nobody needs the sockets of processes that have left properly. */
static inline void check_no_sockets(void)
{
	DIR *entries = opendir(group.directory);
	struct dirent *entry;
	char left[NAME_SIZE * 4] = "";

	while (entries != NULL && (entry = readdir(entries)) != NULL)
		if (strcmp(entry->d_name, "rte_hotplug") == 0 ||
		    strncmp(entry->d_name, "rte_hotplug_", 12) == 0)
			snprintf(left, sizeof(left), "%.200s", entry->d_name);
	if (entries != NULL)
		closedir(entries);
	if (left[0] != '\0')
		GROUP_FAIL("%s is left behind", left);
}

/* The end of a case that went well: every process has to end well, the primary last. */
static inline void group_close(void)
{
	for (int primaries = 0; primaries < 2; primaries++) {
		for (size_t i = 0; i < group.count; i++)
			if (!group.peers[i].ended && group.peers[i].primary == primaries)
				tell(&group.peers[i], "quit");
		for (size_t i = 0; i < group.count; i++) {
			struct peer *peer = &group.peers[i];

			if (peer->ended || peer->primary != primaries)
				continue;
			if (strcmp(answer_of(peer), "0") != 0)
				GROUP_FAIL("rte_eal_cleanup of process %d: %s", (int)peer->pid,
					   peer->line);
			wait_end(peer, 0);
		}
	}
	if (!group.someone_killed)
		check_no_sockets();
	group_kill();
}

static inline struct peer *primary_peer(void)
{
	for (size_t i = 0; i < group.count; i++)
		if (group.peers[i].primary && !group.peers[i].ended)
			return &group.peers[i];
	GROUP_FAIL("there is no primary");
}

/* The devices that callers were told about. */
static inline char *find_told(const char *device)
{
	for (size_t i = 0; i < DEVICES; i++)
		if (strcmp(group.devices[i], device) == 0)
			return group.devices[i];
	return NULL;
}

/* The name in devargs. */
static inline void name_of(char name[NAME_SIZE], const char *devargs)
{
	snprintf(name, NAME_SIZE, "%.*s", (int)strcspn(devargs, ","), devargs);
}

static inline void now_attached(const char *devargs)
{
	char name[NAME_SIZE], *place;

	name_of(name, devargs);
	if (find_told(name) != NULL)
		return;
	place = find_told("");
	if (place == NULL)
		GROUP_FAIL("too many devices");
	snprintf(place, NAME_SIZE, "%s", name);
}

static inline void now_detached(const char *devargs)
{
	char name[NAME_SIZE], *place;

	name_of(name, devargs);
	place = find_told(name);
	if (place != NULL)
		place[0] = '\0';
}

static inline int told(bool attach, const char *devargs, int code)
{
	if (code == 0 && attach)
		now_attached(devargs);
	else if (code == 0)
		now_detached(devargs);
	return code;
}

/* An attach or detach, by this process's main thread: the result. */
static inline int operate(struct peer *by, bool attach, const char *devargs)
{
	return told(attach, devargs, atoi(ask(by, "%s %s", attach ? "attach" : "detach", devargs)));
}

/* The same in a thread of its own; wait_for() waits for its end. */
static inline void begin(struct peer *by, bool attach, const char *devargs)
{
	ask(by, "start-%s %s", attach ? "attach" : "detach", devargs);
}

/* The result of the next one that ends. */
static inline int finished(struct peer *by)
{
	char what[16], devargs[32];
	int code;

	if (sscanf(take_line(by, '@'), "%15s %31s %d", what, devargs, &code) != 3)
		GROUP_FAIL("process %d says \"%s\"", (int)by->pid, by->line);
	return told(strcmp(what, "attach") == 0, devargs, code);
}

/* Whether each word of the one list is in the other. */
static inline bool has_words(const char *list, const char *words)
{
	for (words += strspn(words, " "); *words != '\0'; words += strspn(words, " ")) {
		size_t length = strcspn(words, " ");
		const char *word = list + strspn(list, " ");

		while (*word != '\0' && (strcspn(word, " ") != length ||
					 strncmp(word, words, length) != 0)) {
			word += strcspn(word, " ");
			word += strspn(word, " ");
		}
		if (*word == '\0')
			return false;
		words += length;
	}
	return true;
}

/* The process lists these devices, separated by blanks. */
static inline void do_check_lists(struct peer *peer, const char *devices)
{
	const char *listed = ask(peer, "list");

	if (!has_words(listed, devices) || !has_words(devices, listed))
		GROUP_FAIL("process %d%s lists \"%s\", not \"%s\"", (int)peer->pid,
			   peer->primary ? " (primary)" : "", listed, devices);
}

/* It will list them; nobody waits for what it still does. */
static inline void do_wait_lists(struct peer *peer, const char *devices)
{
	for (double until = group_now() + LIMIT_S; group_now() < until; group_nap()) {
		const char *listed = ask(peer, "list");

		if (has_words(listed, devices) && has_words(devices, listed))
			return;
	}
	do_check_lists(peer, devices);
}

/* Every living process has what the callers were told, and besides, itself, these. */
static inline void do_check_agree(struct peer *owner, const char *private_devices)
{
	char all[DEVICES * (NAME_SIZE + 1) + 1] = "";

	for (size_t i = 0; i < DEVICES; i++)
		if (group.devices[i][0] != '\0')
			snprintf(all + strlen(all), sizeof(all) - strlen(all), " %s",
				 group.devices[i]);
	for (size_t i = 0; i < group.count; i++) {
		struct peer *peer = &group.peers[i];
		char devices[sizeof(all) + NAME_SIZE];

		if (peer->ended)
			continue;
		snprintf(devices, sizeof(devices), "%s %s", all,
			 peer == owner ? private_devices : "");
		do_check_lists(peer, devices);
	}
}

static inline void do_expect_code(const char *what, int code, int expected)
{
	if (code != expected)
		GROUP_FAIL("%s returned %d, not %d", what, code, expected);
}

/* The state that a process sees another one in, by the "peers" command; 0: it does not see it. */
static inline int state_of(struct peer *seen_by, pid_t pid)
{
	char entry[32];
	const char *found;
	int state = 0;

	snprintf(entry, sizeof(entry), " %d:", (int)pid);
	found = strstr(ask(seen_by, "peers"), entry);
	if (found != NULL)
		state = atoi(found + strlen(entry));
	return state;
}

static inline void do_wait_state(struct peer *seen_by, struct peer *peer, int state)
{
	int seen;

	for (double until = group_now() + LIMIT_S; (seen = state_of(seen_by, peer->pid)) != state;) {
		if (group_now() > until)
			GROUP_FAIL("process %d is in state %d, not %d", (int)peer->pid, seen, state);
		group_nap();
	}
}

/* A counter of the "statistics" command. */
static inline long statistic(struct peer *peer, const char *name)
{
	char key[NAME_SIZE];
	const char *found;

	snprintf(key, sizeof(key), "%s=", name);
	found = strstr(ask(peer, "statistics"), key);
	if (found == NULL)
		GROUP_FAIL("no %s in \"%s\"", name, peer->line);
	return atol(found + strlen(key));
}

/* How often the driver's probe has run, its remove, and what a nested call returned. */
struct counts {
	int probes, removes, nested;
};

static inline struct counts counts_of(struct peer *peer)
{
	struct counts counts = { 0 };

	if (sscanf(ask(peer, "counts"), "%d %d %d", &counts.probes, &counts.removes,
		   &counts.nested) != 3)
		GROUP_FAIL("process %d says \"%s\"", (int)peer->pid, peer->line);
	return counts;
}

static inline void do_wait_probes(struct peer *peer, int probes)
{
	for (double until = group_now() + LIMIT_S; counts_of(peer).probes < probes;) {
		if (group_now() > until)
			GROUP_FAIL("process %d has not probed", (int)peer->pid);
		group_nap();
	}
}

/* How the driver of a process behaves from now on: see "driver" in peer.c. */
static inline void __attribute__((format(printf, 2, 3)))
behave(struct peer *peer, const char *format, ...)
{
	char line[LINE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (strcmp(ask(peer, "driver %s", line), "0") != 0)
		GROUP_FAIL("process %d refuses \"%s\"", (int)peer->pid, line);
}

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
