/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of peer.c. find(), list(), arguments_of(), register_driver() and runtime_commands are
 * those of the runtime: peer_embedded.c, or peer_dpdk.c.
 */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stddef.h>

#ifdef PEER_EMBEDDED
#include <rte_hotplug.h>
#else
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_hotplug.h>
#endif

#define NAME_SIZE 64
#define LINE_SIZE 8192

struct command {
	const char *name;	       /* NULL: the end of a table */
	int (*call)(const char *rest); /* its result is the answer; or */
	void (*run)(char *rest);       /* it answers itself */
};

extern const struct command runtime_commands[];

/* A line of output that begins with this mark. */
void __attribute__((format(printf, 2, 3))) say(char mark, const char *format, ...);
#define answer(...) say('=', __VA_ARGS__)

/* A function of ours in a process that may not have them. */
void *ours(const char *name);

int attach(const char *devargs);
int detach(const char *name);
/* By name: while many run at once, a pointer may be another device's by now. */
int unplug(const char *name);

struct rte_device *find(const char *name);
void list(char *text, size_t size);
const char *arguments_of(const char *name);
void register_driver(void);

/* What the driver does: behaves as told. */
int probe_device(const char *name);
int remove_device(const char *name);
void set_behaviour(char *words);
void set_nested_result(int result);
void show_counts(char *rest);
void wait_until_reached(char *rest);
void open_gate(char *rest);

/* A command in a thread of its own; its answer comes later, with "@" in front. */
struct job;
struct job *new_job(bool attach_it, const char *device);
void *run_job(void *job);
void start_attach(char *device);
void start_detach(char *device);
/* "LABEL attach|unplug DEVICE": many may run at once, told apart by their labels. */
void run_labelled(char *words);
/* "DEVICE NUMBER [ARGUMENTS]": so many attaches and detaches, and the time that each pair took. */
void cycles(char *words);

#endif /* PEER_H */
