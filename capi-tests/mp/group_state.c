/* SPDX-License-Identifier: BSD-3-Clause */
/* What callers were told about devices, and what the processes say they have. */
#include <stdarg.h>

#include "group.h"

/* The devices that callers were told about. */
static char *find_told(const char *device)
{
	for (size_t i = 0; i < DEVICES; i++)
		if (strcmp(group.devices[i], device) == 0)
			return group.devices[i];
	return NULL;
}

/* The name in devargs. */
static void name_of(char name[NAME_SIZE], const char *devargs)
{
	snprintf(name, NAME_SIZE, "%.*s", (int)strcspn(devargs, ","), devargs);
}

void now_attached(const char *devargs)
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

void now_detached(const char *devargs)
{
	char name[NAME_SIZE], *place;

	name_of(name, devargs);
	place = find_told(name);
	if (place != NULL)
		place[0] = '\0';
}

int told(bool attach, const char *devargs, int code)
{
	if (code == 0 && attach)
		now_attached(devargs);
	else if (code == 0)
		now_detached(devargs);
	return code;
}

int operate(struct peer *by, bool attach, const char *devargs)
{
	return told(attach, devargs, atoi(ask(by, "%s %s", attach ? "attach" : "detach", devargs)));
}

void begin(struct peer *by, bool attach, const char *devargs)
{
	ask(by, "start-%s %s", attach ? "attach" : "detach", devargs);
}

int finished(struct peer *by)
{
	char what[16], devargs[32];
	int code;

	if (sscanf(take_line(by, '@'), "%15s %31s %d", what, devargs, &code) != 3)
		GROUP_FAIL("process %d says \"%s\"", (int)by->pid, by->line);
	return told(strcmp(what, "attach") == 0, devargs, code);
}

/* Whether each word of the one list is in the other. */
static bool has_words(const char *list, const char *words)
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

void do_check_lists(struct peer *peer, const char *devices)
{
	const char *listed = ask(peer, "list");

	if (!has_words(listed, devices) || !has_words(devices, listed))
		GROUP_FAIL("process %d%s lists \"%s\", not \"%s\"", (int)peer->pid,
			   peer->primary ? " (primary)" : "", listed, devices);
}

void do_wait_lists(struct peer *peer, const char *devices)
{
	for (double until = group_now() + LIMIT_S; group_now() < until; group_nap()) {
		const char *listed = ask(peer, "list");

		if (has_words(listed, devices) && has_words(devices, listed))
			return;
	}
	do_check_lists(peer, devices);
}

void do_check_agree(struct peer *owner, const char *private_devices)
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

void do_expect_code(const char *what, int code, int expected)
{
	if (code != expected)
		GROUP_FAIL("%s returned %d, not %d", what, code, expected);
}

/* The state that a process sees another one in, by the "peers" command; 0: it does not see it. */
static int state_of(struct peer *seen_by, pid_t pid)
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

void do_wait_state(struct peer *seen_by, struct peer *peer, int state)
{
	int seen;

	for (double until = group_now() + LIMIT_S; (seen = state_of(seen_by, peer->pid)) != state;) {
		if (group_now() > until)
			GROUP_FAIL("process %d is in state %d, not %d", (int)peer->pid, seen, state);
		group_nap();
	}
}

long statistic(struct peer *peer, const char *name)
{
	char key[NAME_SIZE];
	const char *found;

	snprintf(key, sizeof(key), "%s=", name);
	found = strstr(ask(peer, "statistics"), key);
	if (found == NULL)
		GROUP_FAIL("no %s in \"%s\"", name, peer->line);
	return atol(found + strlen(key));
}

struct counts counts_of(struct peer *peer)
{
	struct counts counts = { 0 };

	if (sscanf(ask(peer, "counts"), "%d %d %d", &counts.probes, &counts.removes,
		   &counts.nested) != 3)
		GROUP_FAIL("process %d says \"%s\"", (int)peer->pid, peer->line);
	return counts;
}

void do_wait_probes(struct peer *peer, int probes)
{
	for (double until = group_now() + LIMIT_S; counts_of(peer).probes < probes;) {
		if (group_now() > until)
			GROUP_FAIL("process %d has not probed", (int)peer->pid);
		group_nap();
	}
}

void behave(struct peer *peer, const char *format, ...)
{
	char line[LINE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (strcmp(ask(peer, "driver %s", line), "0") != 0)
		GROUP_FAIL("process %d refuses \"%s\"", (int)peer->pid, line);
}
