/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process without the library is asked on EAL's own wire, exactly as DPDK would ask it. That
 * process is a thread here that answers at a secondary's EAL socket.
 */

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "suite.h"

enum { MP_REQ = 1, MP_REP = 2, MP_IGN = 3 };

#define MESSAGE_IS_ALIGNED (RTE_VERSION >= RTE_VERSION_NUM(25, 11, 0, 0))

/* EAL's datagram, without the descriptors at the end of rte_mp_msg. */
struct message {
	int type;
#if MESSAGE_IS_ALIGNED
	int padding;
#endif
	char name[64];
	int len_param;
	int num_fds;
	struct {
		int type;
		char devargs[128];
		int result;
	} request;
	char rest[256 - 136];
#if MESSAGE_IS_ALIGNED
	int padding_behind;
#endif
};

static struct {
	struct sockaddr_un address;
	int socket, stop;
	pthread_t thread;
	int requests, last_type, answer;
	bool starting; /* it has no handler yet */
	char last_devargs[128];
} secondary;

static void *answer_requests(void *arg)
{
	struct pollfd fds[2] = {
		{ .fd = secondary.socket, .events = POLLIN },
		{ .fd = secondary.stop, .events = POLLIN },
	};

	(void)arg;
	while (poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
		struct sockaddr_un peer;
		socklen_t size = sizeof(peer);
		struct message message;

		if (recvfrom(secondary.socket, &message, sizeof(message), 0,
			     (struct sockaddr *)&peer, &size) != sizeof(message) ||
		    message.type != MP_REQ || strcmp(message.name, "eal_dev_mp_request") != 0)
			continue;
		secondary.requests++;
		secondary.last_type = message.request.type;
		memcpy(secondary.last_devargs, message.request.devargs, 128);
		EXPECT(message.len_param == sizeof(message.request) && message.num_fds == 0);
		message.type = secondary.starting ? MP_IGN : MP_REP;
		message.request.result = secondary.answer;
		sendto(secondary.socket, &message, sizeof(message), 0, (struct sockaddr *)&peer,
		       size);
	}
	return NULL;
}

static void join_group(void)
{
	CHECK_INT(sizeof(struct message), MESSAGE_IS_ALIGNED ? 340 : 332);
	memset(&secondary, 0, sizeof(secondary));
	secondary.address.sun_family = AF_UNIX;
	snprintf(secondary.address.sun_path, sizeof(secondary.address.sun_path),
		 "%s/mp_socket_1_2", rte_eal_get_runtime_dir());
	secondary.stop = eventfd(0, EFD_CLOEXEC);
	secondary.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK_INT(bind(secondary.socket, (struct sockaddr *)&secondary.address,
		       sizeof(secondary.address)), 0);
	CHECK_INT(pthread_create(&secondary.thread, NULL, answer_requests, NULL), 0);
}

static void leave_group(void)
{
	CHECK_INT(eventfd_write(secondary.stop, 1), 0);
	CHECK_INT(pthread_join(secondary.thread, NULL), 0);
	close(secondary.socket);
	close(secondary.stop);
	CHECK_INT(unlink(secondary.address.sun_path), 0);
}

static void alone_nobody_is_asked(void)
{
	CHECK_INT(rte_dev_probe("net_null0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", "net_null0"), 0);
}

static void a_secondary_is_asked(void)
{
	join_group();
	CHECK_INT(rte_dev_probe("net_null0,copy=1"), 0);
	CHECK_INT(secondary.requests, 1);
	CHECK_INT(secondary.last_type, 0);
	CHECK_STR(secondary.last_devargs, "net_null0,copy=1");
	CHECK_INT(rte_eal_hotplug_remove("vdev", "net_null0"), 0);
	CHECK_INT(secondary.requests, 2);
	CHECK_INT(secondary.last_type, 1);
	CHECK_STR(secondary.last_devargs, "vdev:net_null0,");
	leave_group();
}

static void its_failure_comes_back(void)
{
	join_group();
	secondary.answer = -ENOSPC;
	CHECK_INT(rte_dev_probe("net_null0"), -ENOSPC);
	CHECK(rte_hotplug_device_find("vdev", "net_null0") == NULL);
	leave_group();
}

static void what_it_has_done_before_is_no_failure(void)
{
	join_group();
	secondary.answer = -EEXIST;
	CHECK_INT(rte_dev_probe("net_null0"), 0);
	secondary.answer = -ENOENT;
	CHECK_INT(rte_eal_hotplug_remove("vdev", "net_null0"), 0);
	CHECK_INT(secondary.requests, 2);
	leave_group();
}

static void one_that_still_starts_is_nobody(void)
{
	join_group();
	secondary.starting = true;
	CHECK_INT(rte_dev_probe("net_null0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", "net_null0"), 0);
	CHECK_INT(secondary.requests, 2);
	leave_group();
}

static void what_does_not_fit_is_refused_before_it_is_sent(void)
{
	char devargs[128 + 1];

	memset(devargs, 'x', 128);
	memcpy(devargs, "net_null0,copy=", 15);
	devargs[128] = '\0';
	join_group();
	CHECK_INT(rte_dev_probe(devargs), -E2BIG);
	CHECK_INT(secondary.requests, 0);
	CHECK(rte_hotplug_device_find("vdev", "net_null0") == NULL);
	leave_group();
}

static void what_would_crash_the_others_is_not_sent(void)
{
	join_group();
	CHECK_INT(rte_dev_probe("bus"), -EFAULT);
	/* In 20.11 it is a name that no bus takes, later a class without a bus. */
	CHECK_INT(rte_dev_probe("class=eth"),
		  RTE_VERSION < RTE_VERSION_NUM(21, 11, 0, 0) ? -EFAULT : -EINVAL);
	CHECK_INT(rte_dev_remove((struct rte_device *)&secondary), -ENODEV);
	CHECK_INT(secondary.requests, 0);
	leave_group();
}

static int parse(const char *name, void *user)
{
	(void)user;
	return strncmp(name, "own", 3) == 0 ? 0 : -1;
}

static int scan(struct rte_hotplug_bus *bus, const char *name, void *user)
{
	(void)user;
	return name != NULL ? rte_hotplug_bus_add_device(bus, name, -1) : 0;
}

static int accept_device(struct rte_device *dev, void *user)
{
	(void)dev, (void)user;
	return 0;
}

static void our_buses_stay_here(void)
{
	struct rte_hotplug_bus_options bus_options = {
		.size = sizeof(bus_options), .name = "mine", .parse = parse, .scan = scan,
	};
	struct rte_hotplug_driver_options driver_options = {
		.size = sizeof(driver_options), .name = "own", .bus = "mine",
		.probe = accept_device,		.remove = accept_device,
	};
	struct rte_hotplug_driver *driver;
	struct rte_hotplug_bus *bus;

	join_group();
	CHECK_INT(rte_hotplug_bus_register(&bus_options, &bus), 0);
	CHECK_INT(rte_hotplug_driver_register(&driver_options, &driver), 0);
	CHECK_INT(rte_dev_probe("mine:own0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("mine", "own0"), 0);
	CHECK_INT(secondary.requests, 0);
	CHECK_INT(rte_hotplug_driver_unregister(driver), 0);
	CHECK_INT(rte_hotplug_bus_unregister(bus), 0);
	leave_group();
}

static void a_dead_socket_is_nobody(void)
{
	join_group();
	CHECK_INT(eventfd_write(secondary.stop, 1), 0);
	CHECK_INT(pthread_join(secondary.thread, NULL), 0);
	close(secondary.socket);
	close(secondary.stop);
	CHECK_INT(rte_dev_probe("net_null0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", "net_null0"), 0);
	CHECK_INT(secondary.requests, 0);
	unlink(secondary.address.sun_path);
}

static const struct test_case cases[] = {
	{ "alone nobody is asked", alone_nobody_is_asked },
	{ "a stock secondary is asked", a_secondary_is_asked },
	{ "its failure comes back", its_failure_comes_back },
	{ "what it has done before is no failure", what_it_has_done_before_is_no_failure },
	{ "one that still starts is nobody", one_that_still_starts_is_nobody },
	{ "what does not fit is refused before it is sent",
	  what_does_not_fit_is_refused_before_it_is_sent },
	{ "what would crash the others is not sent", what_would_crash_the_others_is_not_sent },
	{ "our buses stay here", our_buses_stay_here },
	{ "a dead socket is nobody", a_dead_socket_is_nobody },
};

int main(void)
{
	suite_start();
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}
