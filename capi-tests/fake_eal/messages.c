/* SPDX-License-Identifier: BSD-3-Clause */
/* Multi-process messages: who is registered for which. Nobody reads EAL's socket. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"

void rte_mp_action_unregister(const char *name);

#define REQUEST "eal_dev_mp_request"
#define VDEV "bus_vdev_mp"

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
	return getenv("FAKE_DIRECTORY") != NULL;
}

static int channel = -1;

int fake_open_messages(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	if (!fake_has_messages() || channel >= 0)
		return 0;
	snprintf(name.sun_path, sizeof(name.sun_path), "%s/mp_socket", getenv("FAKE_DIRECTORY"));
	channel = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unlink(name.sun_path);
	return bind(channel, (struct sockaddr *)&name, sizeof(name));
}

void fake_close_messages(void)
{
	if (channel >= 0)
		close(channel);
	channel = -1;
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
