/* SPDX-License-Identifier: BSD-3-Clause */
/* One process of a group: its start, what it is told and says, and its end. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "group.h"

/* Whether the next process is the program that has the library linked in. */
static bool is_linked(int flags)
{
	if (group.linked == NULL || (flags & STOCK))
		return false;
	return strcmp(group.which, "all") == 0 ||
	       strcmp(group.which, group.count % 2 == 0 ? "even" : "odd") == 0;
}

static void group_exec(int flags, const char *extra, int in, int out, int log)
{
	static char lcore[32];
	const char *program = is_linked(flags) ? group.linked : group.program;
	const char *arguments[24] = { program, "--file-prefix", group.prefix, "--no-pci",
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
		/* 20.11 ends when two processes make its socket at once. */
		arguments[count++] = "--no-telemetry";
		if (flags & PRIMARY) {
			arguments[count++] = "-m";
			arguments[count++] = "64";
		}
		if (program == group.program && !(flags & STOCK))
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
	execv(program, (char *const *)arguments);
	_exit(127);
}

struct peer *start_peer(int flags, const char *extra)
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

void wait_ready(struct peer *peer)
{
	const char *answer = answer_of(peer);

	if (strcmp(answer, "ready") != 0)
		GROUP_FAIL("process %d says \"%s\"", (int)peer->pid, answer);
}

/* Waits for more of what the process writes. */
static void read_more(struct peer *peer, double until)
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

const char *take_line(struct peer *peer, char mark)
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

const char *answer_of(struct peer *peer)
{
	return take_line(peer, '=');
}

static void send_line(struct peer *peer, const char *format, va_list arguments)
{
	char line[LINE_SIZE];
	int length = vsnprintf(line, sizeof(line) - 1, format, arguments);

	line[length++] = '\n';
	if (write(peer->in, line, (size_t)length) != length)
		GROUP_FAIL("process %d takes no commands: %s", (int)peer->pid, strerror(errno));
}

void tell(struct peer *peer, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	send_line(peer, format, arguments);
	va_end(arguments);
}

const char *ask(struct peer *peer, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	send_line(peer, format, arguments);
	va_end(arguments);
	return answer_of(peer);
}

void end_peer(struct peer *peer)
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

void wait_end(struct peer *peer, int expected)
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

void quit_peer(struct peer *peer)
{
	const char *answer = ask(peer, "quit");

	if (strcmp(answer, "0") != 0)
		GROUP_FAIL("rte_eal_cleanup of process %d: %s", (int)peer->pid, answer);
	wait_end(peer, 0);
}

void stop_peer(struct peer *peer)
{
	int status;

	kill(peer->pid, SIGSTOP);
	if (waitpid(peer->pid, &status, WUNTRACED) != peer->pid || !WIFSTOPPED(status))
		GROUP_FAIL("process %d cannot be stopped", (int)peer->pid);
	peer->stopped = true;
}

void continue_peer(struct peer *peer)
{
	kill(peer->pid, SIGCONT);
	peer->stopped = false;
}

void kill_peer(struct peer *peer)
{
	group.someone_killed = true;
	kill(peer->pid, SIGKILL);
	wait_end(peer, SIGKILL);
}

void wait_killed(struct peer *peer)
{
	group.someone_killed = true;
	wait_end(peer, SIGKILL);
}

void fork_peer(struct peer *peer)
{
	group.children[group.child_count++] = atoi(ask(peer, "fork"));
}
