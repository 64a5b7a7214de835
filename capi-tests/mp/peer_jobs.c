/* SPDX-License-Identifier: BSD-3-Clause */
/* Attaches and detaches of peer.c in threads of their own, and many in a row. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "peer.h"

struct job {
	int (*work)(const char *device);
	char label[NAME_SIZE]; /* the first word of its answer */
	char device[LINE_SIZE];
};

static double now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

void *run_job(void *argument)
{
	struct job *job = argument;
	double start = now_ms();
	int result = job->work(job->device);

	say('@', "%s %.20s %d %.3f", job->label, job->device, result, now_ms() - start);
	free(job);
	return NULL;
}

struct job *new_job(bool attach_it, const char *device)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		exit(3);
	job->work = attach_it ? attach : detach;
	snprintf(job->label, sizeof(job->label), "%s", attach_it ? "attach" : "detach");
	snprintf(job->device, sizeof(job->device), "%s", device);
	return job;
}

static void start_job(struct job *job)
{
	pthread_attr_t detached;
	pthread_t thread;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &detached, run_job, job) != 0)
		exit(3);
	pthread_attr_destroy(&detached);
	answer("0");
}

void start_attach(char *device)
{
	start_job(new_job(true, device));
}

void start_detach(char *device)
{
	start_job(new_job(false, device));
}

void run_labelled(char *words)
{
	char *label = strtok(words, " "), *step = strtok(NULL, " "), *device = strtok(NULL, " ");
	struct job *job;

	if (device == NULL)
		exit(3);
	job = new_job(strcmp(step, "attach") == 0, device);
	snprintf(job->label, sizeof(job->label), "%s", label);
	if (strcmp(step, "unplug") == 0)
		job->work = unplug;
	start_job(job);
}

static double cycle(const char *device, const char *arguments, int *failures)
{
	double start = now_ms();

	/* By name: looking for the device here would be timed too. */
	*failures += rte_eal_hotplug_add("vdev", device, arguments) != 0;
	*failures += rte_eal_hotplug_remove("vdev", device) != 0;
	return now_ms() - start;
}

void cycles(char *words)
{
	char *device = strtok(words, " "), *number = strtok(NULL, " ");
	const char *given = strtok(NULL, " "), *arguments = given != NULL ? given : "";
	int count = number != NULL ? atoi(number) : 0, failures = 0;
	char *times = NULL;
	size_t size;
	FILE *text = open_memstream(&times, &size);

	if (text == NULL)
		exit(3);
	for (int i = 0; i < count; i++)
		fprintf(text, " %.4f", cycle(device, arguments, &failures));
	if (fclose(text) != 0)
		exit(3);
	answer("%d%s", failures, times);
	free(times);
}
