/* SPDX-License-Identifier: BSD-3-Clause */
/* What a call is, and what devices there are, as text. */
#include <inttypes.h>
#include <string.h>

#include <rte_devargs.h>

#include "../dpdk.h"
#include "calls.h"

#define LONGEST_SHOWN 64

FILE *output;

void show_string(const char *text)
{
	size_t length;

	if (text == NULL) {
		fputs("NULL", output);
		return;
	}
	length = strlen(text);
	fputc('"', output);
	for (size_t i = 0; i < length && i < LONGEST_SHOWN; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c > '~' || strchr("|`\\\"", c) != NULL)
			fprintf(output, "\\x%02x", c);
		else
			fputc(c, output);
	}
	fputc('"', output);
	if (length > LONGEST_SHOWN)
		fprintf(output, "...%zu", length);
}

static void show_function(const char *name, const char *const *strings, size_t count)
{
	fprintf(output, "%s(", name);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			fputs(", ", output);
		show_string(strings[i]);
	}
	fputc(')', output);
}

static void show_event_call(const char *name, const struct call *call)
{
	fprintf(output, "%s(", name);
	show_string(call->first);
	fprintf(output, ", %s, %" PRIdPTR ")",
		call->callback == NULL	       ? "NULL"
		: call->callback == callback_a ? "a"
					       : "b",
		call->argument);
}

void show_call(const struct call *call)
{
	const char *const strings[] = { call->first, call->second, call->third };

	switch (call->operation) {
	case PROBE:
		show_function("rte_dev_probe", strings, 1);
		break;
	case REMOVE:
		show_function("rte_dev_remove", strings, 1);
		break;
	case REMOVE_NULL:
		fputs("rte_dev_remove(NULL)", output);
		break;
	case STALE:
		show_function("rte_dev_remove of a removed device", strings, 1);
		break;
	case ADD:
		show_function("rte_eal_hotplug_add", strings, 3);
		break;
	case REMOVE_NAME:
		show_function("rte_eal_hotplug_remove", strings, 2);
		break;
	case REGISTER:
		show_event_call("rte_dev_event_callback_register", call);
		break;
	case UNREGISTER:
		show_event_call("rte_dev_event_callback_unregister", call);
		break;
	case PROCESS:
		fputs("rte_dev_event_callback_process(", output);
		show_string(call->first);
		fprintf(output, ", %s)", call->argument == RTE_DEV_EVENT_ADD ? "add" : "remove");
		break;
	}
	if (call->note != NULL)
		fprintf(output, " - %s", call->note);
}

void show_devices(const char *iterate)
{
	struct rte_dev_iterator iterator;
	struct rte_device *dev;

	RTE_DEV_FOREACH(dev, iterate, &iterator) {
		const struct rte_devargs *devargs = rte_dev_devargs(dev);

		fprintf(output, " %s:", iterate + strlen("bus="));
		show_string(rte_dev_name(dev));
		fputs(rte_dev_driver(dev) != NULL ? "+" : "-", output);
		show_string(devargs != NULL ? devargs->args : NULL);
	}
}
