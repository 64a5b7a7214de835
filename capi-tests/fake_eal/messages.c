/* SPDX-License-Identifier: BSD-3-Clause */
/* Multi-process messages: a thread hands them to who is registered for them. */

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

void rte_mp_action_unregister(const char *name);

#define REQUEST "eal_dev_mp_request"
#define VDEV "bus_vdev_mp"

/* So long the vdev bus waits for an answer, in seconds. */
#define VDEV_PATIENCE 5
#define VDEV_SCAN_REQ 1

struct vdev_param {
	int type;
	int num;
	char name[64];
};

/* EAL's own and that of the vdev bus. */
static struct action {
	const char *name;
	rte_mp_t handler;
} actions[] = { { .name = REQUEST }, { .name = VDEV } };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct action *find(const char *name)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	return NULL;
}

static rte_mp_t handler_of(const char *name)
{
	rte_mp_t handler;

	pthread_mutex_lock(&lock);
	handler = find(name)->handler;
	pthread_mutex_unlock(&lock);
	return handler;
}

bool fake_has_messages(void)
{
	return fake_options.directory[0] != '\0';
}

static int channel = -1;
static struct sockaddr_un channel_name = { .sun_family = AF_UNIX };
static pthread_t reader;
static sem_t vdev_reply;

/* The handler of an action, or NULL. */
static rte_mp_t handler_for(const char *name)
{
	return find(name) != NULL ? handler_of(name) : NULL;
}

static void *read_messages(void *unused)
{
	(void)unused;
	for (;;) {
		struct sockaddr_un sender = { 0 };
		socklen_t length = sizeof(sender);
		struct fake_datagram datagram;
		rte_mp_t handler;
		ssize_t received = recvfrom(channel, &datagram, sizeof(datagram), 0,
					    (struct sockaddr *)&sender, &length);

		if (received == 0)
			return NULL;
		if (received != (ssize_t)FAKE_DATAGRAM_SIZE)
			continue;
		handler = handler_for(datagram.message.name);
		if (datagram.type == MP_REP)
			sem_post(&vdev_reply);
		else if (handler != NULL)
			handler(&datagram.message, sender.sun_path);
	}
	return NULL;
}

int fake_open_messages(void)
{
	char *path = channel_name.sun_path;
	size_t room = sizeof(channel_name.sun_path);

	if (!fake_has_messages() || channel >= 0)
		return 0;
	if (fake_options.secondary)
		snprintf(path, room, "%s/mp_socket_%d_1", fake_options.directory, (int)getpid());
	else
		snprintf(path, room, "%s/mp_socket", fake_options.directory);
	channel = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unlink(path);
	sem_init(&vdev_reply, 0, 0);
	if (bind(channel, (struct sockaddr *)&channel_name, sizeof(channel_name)) != 0)
		return -1;
	return pthread_create(&reader, NULL, read_messages, NULL);
}

void fake_close_messages(void)
{
	if (channel < 0)
		return;
	shutdown(channel, SHUT_RD);
	pthread_join(reader, NULL);
	close(channel);
	unlink(channel_name.sun_path);
	channel = -1;
}

bool fake_ask_for_vdevs(void)
{
	struct vdev_param param = { .type = VDEV_SCAN_REQ };
	struct fake_datagram datagram = { .type = MP_REQ,
					  .message = { .name = VDEV, .len_param = sizeof(param) } };
	struct sockaddr_un primary = { .sun_family = AF_UNIX };
	struct timespec limit;
	int result;

	memcpy(datagram.message.param, &param, sizeof(param));
	snprintf(primary.sun_path, sizeof(primary.sun_path), "%s/mp_socket",
		 fake_options.directory);
	if (sendto(channel, &datagram, FAKE_DATAGRAM_SIZE, 0, (struct sockaddr *)&primary,
		   sizeof(primary)) < 0)
		return false;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += VDEV_PATIENCE;
	while ((result = sem_timedwait(&vdev_reply, &limit)) != 0 && errno == EINTR)
		;
	return result == 0;
}

int fake_on_request(const struct rte_mp_msg *message, const void *peer)
{
	(void)message;
	(void)peer;
	return 0;
}

bool fake_has_own_handler(void)
{
	return handler_of(REQUEST) == fake_on_request;
}

int fake_vdev_message(int type, const char *name)
{
	struct vdev_param param = { .type = type, .num = 1 };
	struct rte_mp_msg message = { .name = VDEV, .len_param = sizeof(param) };

	rte_mp_t handler = handler_of(VDEV);

	if (handler == NULL)
		return -1;
	strncpy(param.name, name, sizeof(param.name) - 1);
	memcpy(message.param, &param, sizeof(param));
	return handler(&message, "");
}

int rte_mp_action_register(const char *name, rte_mp_t handler)
{
	struct action *action = find(name);
	bool taken;

	if (action == NULL && fake_echo("rte_mp_action_register(%s, %d)", name, handler != NULL))
		return -1013;
	if (action == NULL || !fake_has_messages()) {
		rte_errno = ENOTSUP;
		return -1;
	}
	pthread_mutex_lock(&lock);
	taken = action->handler != NULL;
	if (!taken)
		action->handler = handler;
	pthread_mutex_unlock(&lock);
	if (taken)
		rte_errno = EEXIST;
	return taken ? -1 : 0;
}

void rte_mp_action_unregister(const char *name)
{
	struct action *action = find(name);

	pthread_mutex_lock(&lock);
	if (action != NULL)
		action->handler = NULL;
	pthread_mutex_unlock(&lock);
}
