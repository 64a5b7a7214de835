/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interrupt thread: it calls what is registered while a descriptor is readable, and alarms, which all
 * go off at once.
 */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "internal.h"

/* Exported like DPDK's. */
int rte_eal_alarm_set(uint64_t microseconds, void (*callback)(void *), void *argument);
int rte_eal_alarm_cancel(void (*callback)(void *), void *argument);

#define SOURCES 16
#define ALARMS 16

struct rte_intr_handle {
	int fd;
};

static struct source {
	const struct rte_intr_handle *handle; /* NULL: free */
	rte_intr_callback_fn callback;
	void *argument;
	int fd;
	bool runs;
	bool ends; /* after it has run */
	rte_intr_unregister_callback_fn ended;
} sources[SOURCES];

static struct alarm {
	void (*callback)(void *); /* NULL: free */
	void *argument;
	bool runs;
} alarms[ALARMS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t alarm_ended = PTHREAD_COND_INITIALIZER;
static pthread_t thread;
static bool started;
static int changed = -1, watch = -1;

static struct source *find(const struct rte_intr_handle *handle, rte_intr_callback_fn callback,
			   void *argument)
{
	for (int i = 0; i < SOURCES; i++)
		if (sources[i].handle == handle && sources[i].callback == callback &&
		    sources[i].argument == argument)
			return &sources[i];
	return NULL;
}

/* It may have been closed. */
static void forget(struct source *source)
{
	epoll_ctl(watch, EPOLL_CTL_DEL, source->fd, NULL);
	*source = (struct source){ 0 };
}

static void tell_change(void)
{
	eventfd_write(changed, 1);
}

static void serve(struct source *source)
{
	struct source now;

	pthread_mutex_lock(&lock);
	now = *source;
	source->runs = now.handle != NULL;
	pthread_mutex_unlock(&lock);
	/* It may have been unregistered since it was polled. */
	if (now.handle == NULL)
		return;
	now.callback(now.argument);
	pthread_mutex_lock(&lock);
	source->runs = false;
	now = *source;
	if (now.ends)
		forget(source);
	pthread_mutex_unlock(&lock);
	if (now.ends && now.ended != NULL)
		now.ended((struct rte_intr_handle *)(uintptr_t)now.handle, now.argument);
}

static void ring_alarms(void)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < ALARMS; i++) {
		struct alarm now = alarms[i];

		if (now.callback == NULL)
			continue;
		alarms[i].runs = true;
		pthread_mutex_unlock(&lock);
		now.callback(now.argument);
		pthread_mutex_lock(&lock);
		alarms[i] = (struct alarm){ 0 };
		pthread_cond_broadcast(&alarm_ended);
	}
	pthread_mutex_unlock(&lock);
}

static void watch_one(int fd, struct source *source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = source };

	if (epoll_ctl(watch, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST)
		return;
	fputs("fake EAL: a descriptor cannot be watched\n", stderr);
	abort();
}

/* As in EAL, nobody may have closed what is registered. */
static void watch_all(void)
{
	pthread_mutex_lock(&lock);
	watch_one(changed, NULL);
	for (int i = 0; i < SOURCES; i++)
		if (sources[i].handle != NULL)
			watch_one(sources[i].fd, &sources[i]);
	pthread_mutex_unlock(&lock);
}

/* Until something has changed. */
static void serve_all(void)
{
	for (;;) {
		struct epoll_event event;
		eventfd_t count;

		if (epoll_wait(watch, &event, 1, -1) != 1)
			continue;
		if (event.data.ptr == NULL) {
			eventfd_read(changed, &count);
			return;
		}
		serve(event.data.ptr);
	}
}

static void *work(void *unused)
{
	(void)unused;
	for (;;) {
		ring_alarms();
		watch_all();
		serve_all();
	}
	return NULL;
}

void fake_start_interrupts(void)
{
	if (started)
		return;
	started = true;
	changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	watch = epoll_create1(EPOLL_CLOEXEC);
	if (changed < 0 || watch < 0 || pthread_create(&thread, NULL, work, NULL) != 0)
		abort();
	pthread_detach(thread);
}

int rte_thread_is_intr(void)
{
	return started && pthread_equal(pthread_self(), thread);
}

struct rte_intr_handle *rte_intr_instance_alloc(uint32_t flags)
{
	(void)flags;
	return calloc(1, sizeof(struct rte_intr_handle));
}

void rte_intr_instance_free(struct rte_intr_handle *handle)
{
	free(handle);
}

int rte_intr_fd_set(struct rte_intr_handle *handle, int fd)
{
	handle->fd = fd;
	return 0;
}

int rte_intr_type_set(struct rte_intr_handle *handle, int type)
{
	(void)handle;
	(void)type;
	return 0;
}

int rte_intr_callback_register(const struct rte_intr_handle *handle, rte_intr_callback_fn callback,
			       void *argument)
{
	struct source *source;

	pthread_mutex_lock(&lock);
	source = find(NULL, NULL, NULL);
	if (source != NULL)
		*source = (struct source){ .handle = handle,
					   .callback = callback,
					   .argument = argument,
					   .fd = handle->fd };
	pthread_mutex_unlock(&lock);
	tell_change();
	return source != NULL ? 0 : -ENOMEM;
}

int rte_intr_callback_unregister(const struct rte_intr_handle *handle,
				 rte_intr_callback_fn callback, void *argument)
{
	struct source *source;
	int result = 1;

	pthread_mutex_lock(&lock);
	source = find(handle, callback, argument);
	if (source == NULL)
		result = -ENOENT;
	else if (source->runs)
		result = -EAGAIN;
	else
		forget(source);
	pthread_mutex_unlock(&lock);
	return result;
}

int rte_intr_callback_unregister_pending(const struct rte_intr_handle *handle,
					 rte_intr_callback_fn callback, void *argument,
					 rte_intr_unregister_callback_fn unregistered)
{
	struct source *source;
	int result = 1;

	pthread_mutex_lock(&lock);
	source = find(handle, callback, argument);
	if (source == NULL) {
		result = -ENOENT;
	} else if (!source->runs) {
		result = -EAGAIN;
	} else {
		source->ends = true;
		source->ended = unregistered;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

int rte_eal_alarm_set(uint64_t microseconds, void (*callback)(void *), void *argument)
{
	int free_one = 0;

	(void)microseconds;
	pthread_mutex_lock(&lock);
	while (free_one < ALARMS && alarms[free_one].callback != NULL)
		free_one++;
	if (free_one < ALARMS)
		alarms[free_one] = (struct alarm){ .callback = callback, .argument = argument };
	pthread_mutex_unlock(&lock);
	tell_change();
	return free_one < ALARMS ? 0 : -ENOMEM;
}

/* Waits for one that goes off, unless it is this that cancels. */
int rte_eal_alarm_cancel(void (*callback)(void *), void *argument)
{
	int count = 0;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < ALARMS; i++) {
		struct alarm *alarm = &alarms[i];

		while (alarm->callback == callback && alarm->argument == argument) {
			if (!alarm->runs) {
				*alarm = (struct alarm){ 0 };
				count++;
			} else if (rte_thread_is_intr()) {
				break;
			} else {
				pthread_cond_wait(&alarm_ended, &lock);
			}
		}
	}
	pthread_mutex_unlock(&lock);
	return count;
}
