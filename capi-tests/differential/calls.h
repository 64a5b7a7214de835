/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of calls.c: the table of calls, and how a call is shown. */
#ifndef CALLS_H
#define CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <rte_dev.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

enum operation {
	PROBE,	     /* rte_dev_probe(first) */
	REMOVE,	     /* rte_dev_remove(the vdev named first) */
	REMOVE_NULL, /* rte_dev_remove(NULL) */
	STALE,	     /* rte_dev_remove of what was removed already */
	ADD,	     /* rte_eal_hotplug_add(first, second, third) */
	REMOVE_NAME, /* rte_eal_hotplug_remove(first, second) */
	REGISTER,    /* rte_dev_event_callback_register(first, callback, argument) */
	UNREGISTER,  /* rte_dev_event_callback_unregister(first, callback, argument) */
	PROCESS,     /* rte_dev_event_callback_process(first, event) */
};

struct call {
	enum operation operation;
	const char *first, *second, *third;
	rte_dev_event_cb_fn callback;
	intptr_t argument;
	const char *note;  /* tells calls apart that look the same */
	const char *setup; /* attached before, in a process of its own */
	bool alone;	   /* needs a process of its own: stock crashes, or may */
};

extern struct call calls[1024];
extern size_t call_count;

void add_call(struct call call);

#define CALL(...) add_call((struct call){ __VA_ARGS__ })
#define PROBE_OF(text) CALL(PROBE, .first = (text))
#define ALONE_OF(text) CALL(PROBE, .first = (text), .alone = true)
#define REMOVE_OF(device) CALL(REMOVE_NAME, .first = "vdev", .second = (device))

/* The table, in this order: each part may rely on what the ones before have left. */
void add_good_strings(void);
void add_bad_strings(void);
void add_names_and_lengths(void);
void add_repetitions(void);
void add_errno_values(void);
void add_callbacks(void);
void add_odd_arguments(void);
void add_leftovers(void);
void add_crashes(void);

/* A name of a device that is too long for everything. */
extern char long_name[10241];

void callback_a(const char *name, enum rte_dev_event_type event, void *arg);
void callback_b(const char *name, enum rte_dev_event_type event, void *arg);

extern FILE *output;

/* A string as text without tabs, '|' or '`'; long ones by their start and length. */
void show_string(const char *text);
void show_call(const struct call *call);
void show_devices(const char *iterate);

#endif /* CALLS_H */
