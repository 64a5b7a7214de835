/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver "tdrv" of peer.c. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"

enum { PROBE, REMOVE };

/* What the driver does, by "driver key=value ...", from the start by PEER_DRIVER. */
static struct behaviour {
	char only[NAME_SIZE]; /* for this device only; empty for all */
	struct step {
		int result, ms;
		int kill;	      /* end the process: 1 before, 2 after its work */
		char nest[NAME_SIZE]; /* a device to attach from inside of a probe, or to detach */
	} steps[2];
	int gate; /* wait until the command "open": 1 in the probe, 2 in the remove */
} behaviour;

#define SETTING(key, member, text) { key, offsetof(struct behaviour, member), text }

static const struct setting {
	const char *key;
	size_t offset;
	bool is_text;
} settings[] = {
	SETTING("only", only, true),
	SETTING("gate", gate, false),
	SETTING("probe", steps[PROBE].result, false),
	SETTING("remove", steps[REMOVE].result, false),
	SETTING("probe_ms", steps[PROBE].ms, false),
	SETTING("remove_ms", steps[REMOVE].ms, false),
	SETTING("kill_probe", steps[PROBE].kill, false),
	SETTING("kill_remove", steps[REMOVE].kill, false),
	SETTING("nest_probe", steps[PROBE].nest, true),
	SETTING("nest_remove", steps[REMOVE].nest, true),
};

static _Atomic int probes, removes, nested_result = 1;
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static bool gate_open, gate_reached;

static void sleep_ms(int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&time, &time) != 0 && errno == EINTR)
		;
}

static struct behaviour behaviour_now(void)
{
	struct behaviour now;

	pthread_mutex_lock(&gate_lock);
	now = behaviour;
	pthread_mutex_unlock(&gate_lock);
	return now;
}

static void wait_at_gate(void)
{
	pthread_mutex_lock(&gate_lock);
	gate_reached = true;
	pthread_cond_broadcast(&gate_changed);
	while (!gate_open)
		pthread_cond_wait(&gate_changed, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
}

/* What it was told when its work begins counts until the end. */
static int work(int which, const char *name)
{
	struct behaviour now = behaviour_now();
	const struct step *step = &now.steps[which];

	if (now.only[0] != '\0' && strcmp(now.only, name) != 0)
		return 0;
	if (step->kill == 1)
		kill(getpid(), SIGKILL);
	if (now.gate == which + 1)
		wait_at_gate();
	sleep_ms(step->ms);
	if (step->nest[0] != '\0' && strcmp(step->nest, name) != 0)
		nested_result = which == PROBE ? attach(step->nest) : unplug(step->nest);
	if (step->kill == 2)
		kill(getpid(), SIGKILL);
	return step->result;
}

int probe_device(const char *name)
{
	probes++;
	return work(PROBE, name);
}

int remove_device(const char *name)
{
	removes++;
	return work(REMOVE, name);
}

static void set(struct behaviour *next, const char *key, const char *value)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		void *place = (char *)next + settings[i].offset;

		if (strcmp(settings[i].key, key) != 0)
			continue;
		if (settings[i].is_text)
			snprintf(place, NAME_SIZE, "%s", value);
		else
			*(int *)place = atoi(value);
		return;
	}
	exit(3);
}

void set_behaviour(char *words)
{
	struct behaviour next = { 0 };

	for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
		char *value = strchr(word, '=');

		if (value == NULL)
			continue;
		*value++ = '\0';
		set(&next, word, value);
	}
	pthread_mutex_lock(&gate_lock);
	behaviour = next;
	nested_result = 1;
	gate_open = gate_reached = false;
	pthread_mutex_unlock(&gate_lock);
}

void set_nested_result(int result)
{
	nested_result = result;
}

void show_counts(char *rest)
{
	(void)rest;
	answer("%d %d %d", probes, removes, nested_result);
}

void wait_until_reached(char *rest)
{
	(void)rest;
	pthread_mutex_lock(&gate_lock);
	while (!gate_reached)
		pthread_cond_wait(&gate_changed, &gate_lock);
	pthread_mutex_unlock(&gate_lock);
	answer("0");
}

void open_gate(char *rest)
{
	(void)rest;
	pthread_mutex_lock(&gate_lock);
	gate_open = true;
	pthread_cond_broadcast(&gate_changed);
	pthread_mutex_unlock(&gate_lock);
	answer("0");
}
