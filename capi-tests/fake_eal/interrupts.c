/* SPDX-License-Identifier: BSD-3-Clause */
/* The interrupt thread: it calls what is registered while a descriptor is readable. */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "internal.h"

#define SOURCES 16

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

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t thread;
static bool started;
static int changed = -1;

static struct source *find(const struct rte_intr_handle *handle, rte_intr_callback_fn callback,
			   void *argument)
{
	for (int i = 0; i < SOURCES; i++)
		if (sources[i].handle == handle && sources[i].callback == callback &&
		    sources[i].argument == argument)
			return &sources[i];
	return NULL;
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
		*source = (struct source){ 0 };
	pthread_mutex_unlock(&lock);
	if (now.ends && now.ended != NULL)
		now.ended((struct rte_intr_handle *)(uintptr_t)now.handle, now.argument);
}

static void *work(void *unused)
{
	(void)unused;
	for (;;) {
		struct pollfd watched[SOURCES + 1] = { { .fd = changed, .events = POLLIN } };
		eventfd_t count;

		pthread_mutex_lock(&lock);
		for (int i = 0; i < SOURCES; i++) {
			watched[i + 1].fd = sources[i].handle != NULL ? sources[i].fd : -1;
			watched[i + 1].events = POLLIN;
		}
		pthread_mutex_unlock(&lock);
		if (poll(watched, SOURCES + 1, -1) < 0)
			continue;
		if (watched[0].revents != 0) {
			eventfd_read(changed, &count);
			continue;
		}
		for (int i = 0; i < SOURCES; i++) {
			/* As EAL does: nobody may close what it watches. */
			if ((watched[i + 1].revents & POLLNVAL) != 0) {
				fputs("fake EAL: a watched descriptor was closed\n", stderr);
				abort();
			}
			if (watched[i + 1].revents != 0)
				serve(&sources[i]);
		}
	}
	return NULL;
}

void fake_start_interrupts(void)
{
	if (started)
		return;
	started = true;
	changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (changed < 0 || pthread_create(&thread, NULL, work, NULL) != 0)
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
		*source = (struct source){ 0 };
	pthread_mutex_unlock(&lock);
	tell_change();
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
