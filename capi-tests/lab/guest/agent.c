/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lab-agent COMMANDS EVENTS: serves the host on two terminals of the guest.
 *
 * COMMANDS: a line "ID COMMAND" runs the command in a shell; its output is followed by the line
 * "@@ID@@ STATUS". EVENTS gets one line for each uevent of the kernel: "ACTION SUBSYSTEM NAME",
 * where NAME is the PCI address if there is one.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/netlink.h>

static const char *field(const char *message, size_t length, const char *key)
{
	size_t size = strlen(key);

	for (size_t at = 0; at < length; at += strlen(message + at) + 1)
		if (strncmp(message + at, key, size) == 0)
			return message + at + size;
	return NULL;
}

static void tell_event(FILE *events, const char *message, size_t length)
{
	const char *action = field(message, length, "ACTION=");
	const char *subsystem = field(message, length, "SUBSYSTEM=");
	const char *name = field(message, length, "PCI_SLOT_NAME=");

	if (name == NULL)
		name = field(message, length, "DEVPATH=");
	if (action == NULL || subsystem == NULL || name == NULL)
		return;
	fprintf(events, "%s %s %s\n", action, subsystem, name);
	fflush(events);
}

static int open_uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	int bytes = 16 << 20;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	/* Cases make bursts that the lab itself must not miss. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	return fd;
}

static _Noreturn void tell_events(int uevents, const char *terminal)
{
	char message[16384];
	FILE *events = fopen(terminal, "w");

	while (events != NULL) {
		ssize_t length = recv(uevents, message, sizeof(message) - 1, 0);

		if (length < 0 && errno != EINTR && errno != ENOBUFS)
			break;
		if (length > 0) {
			message[length] = '\0';
			tell_event(events, message, (size_t)length);
		}
	}
	_exit(EXIT_FAILURE);
}

/* Output goes straight to the terminal, and no input comes from it. */
static int run(int terminal, const char *command)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		int null = open("/dev/null", O_RDONLY);

		dup2(null, STDIN_FILENO);
		dup2(terminal, STDOUT_FILENO);
		dup2(terminal, STDERR_FILENO);
		setsid();
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	/* As the first process it also inherits those whose parents have gone. */
	while (waitpid(-1, &status, 0) != child)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool read_line(int terminal, char *line, size_t size)
{
	size_t used = 0;

	for (;;) {
		char c;
		ssize_t got = read(terminal, &c, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got != 1)
			return false;
		if (c == '\n')
			break;
		if (used + 1 < size)
			line[used++] = c;
	}
	line[used] = '\0';
	return true;
}

int main(int argc, char **argv)
{
	static char line[65536];
	int terminal = argc == 3 ? open(argv[1], O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
	int uevents = open_uevents();

	if (terminal < 0 || uevents < 0)
		return EXIT_FAILURE;
	if (fork() == 0)
		tell_events(uevents, argv[2]);
	dprintf(terminal, "READY\n");
	while (read_line(terminal, line, sizeof(line))) {
		char *command;
		long id = strtol(line, &command, 10);

		dprintf(terminal, "@@%ld@@ %d\n", id, run(terminal, command));
	}
	return EXIT_FAILURE;
}
