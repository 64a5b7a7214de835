/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Port Hotplug API: rte_eth_dev_attach() and rte_eth_dev_detach(). Without SUITE_HOSTED on the
 * embedded runtime, which has no ports.
 */

#include "suite.h"

#define NAME_ROOM 64

static void null_is_refused(void)
{
	uint16_t port = 4711;

	CHECK_INT(rte_eth_dev_attach(NULL, &port), -EINVAL);
	CHECK_INT(rte_eth_dev_attach(NULL_DEVICE(0), NULL), -EINVAL);
	CHECK_INT(rte_eth_dev_attach(NULL, NULL), -EINVAL);
	CHECK_INT(port, 4711);
	CHECK(rte_hotplug_device_find("vdev", NULL_DEVICE(0)) == NULL);
}

#ifndef SUITE_HOSTED

static void there_are_no_ports(void)
{
	char name[NAME_ROOM] = "untouched";
	uint16_t port = 4711;

	CHECK_INT(rte_eth_dev_attach(NULL_DEVICE(0), &port), -ENOTSUP);
	CHECK_INT(port, 4711);
	CHECK(rte_hotplug_device_find("vdev", NULL_DEVICE(0)) == NULL);
	CHECK_INT(rte_eth_dev_detach(0, name), -ENOTSUP);
	CHECK_INT(rte_eth_dev_detach(0, NULL), -ENOTSUP);
	CHECK_STR(name, "untouched");
}

static const struct test_case cases[] = {
	{ "NULL is refused", null_is_refused },
	{ "there are no ports", there_are_no_ports },
};

int main(void)
{
	suite_start();
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}

#else /* SUITE_HOSTED */

#include <pthread.h>
#include <sched.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_rawdev.h>

#define AT_START "net_null9"
#define ROUNDS 200

static void start(uint16_t port)
{
	static struct rte_mempool *pool;
	struct rte_eth_conf conf = { 0 };

	if (pool == NULL)
		pool = rte_pktmbuf_pool_create("ethdev", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					       SOCKET_ID_ANY);
	CHECK(pool != NULL);
	CHECK_INT(rte_eth_dev_configure(port, 1, 1, &conf), 0);
	CHECK_INT(rte_eth_rx_queue_setup(port, 0, 64, 0, NULL, pool), 0);
	CHECK_INT(rte_eth_tx_queue_setup(port, 0, 64, 0, NULL), 0);
	CHECK_INT(rte_eth_dev_start(port), 0);
}

static void check_device_of(uint16_t port, const char *expected)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_eth_dev_info info;

	CHECK_INT(rte_eth_dev_get_name_by_port(port, name), 0);
	CHECK_STR(name, expected);
	CHECK_INT(rte_eth_dev_info_get(port, &info), 0);
	CHECK(info.device == rte_hotplug_device_find("vdev", expected));
}

/* Attach, and detach in each state that the port has until it may be. */
static void a_port_lives_and_goes(void)
{
	char name[NAME_ROOM] = "untouched";
	uint16_t port = 4711;

	CHECK_INT(rte_eth_dev_attach("net_null0,copy=1", &port), 0);
	check_device_of(port, "net_null0");
	CHECK_INT(rte_eth_dev_detach(port, name), -EBUSY);
	start(port);
	CHECK_INT(rte_eth_dev_detach(port, name), -EBUSY);
	CHECK_INT(rte_eth_dev_stop(port), 0);
	CHECK_INT(rte_eth_dev_detach(port, name), -EBUSY);
	CHECK_STR(name, "untouched");
	check_device_of(port, "net_null0");
	CHECK_INT(rte_eth_dev_close(port), 0);
	CHECK_INT(rte_eth_dev_detach(port, name), 0);
	CHECK_STR(name, "net_null0");
	CHECK(rte_hotplug_device_find("vdev", "net_null0") == NULL);
	memcpy(name, "untouched", sizeof("untouched"));
	CHECK_INT(rte_eth_dev_detach(port, name), -ENODEV);
	CHECK_STR(name, "untouched");
}

static void a_name_is_not_needed(void)
{
	uint16_t port;

	CHECK_INT(rte_eth_dev_attach("net_null1", &port), 0);
	CHECK_INT(rte_eth_dev_close(port), 0);
	CHECK_INT(rte_eth_dev_detach(port, NULL), 0);
	CHECK_INT(rte_eth_dev_detach(port, NULL), -ENODEV);
}

static void attaching_twice_is_refused(void)
{
	uint16_t port, other = 4711;

	CHECK_INT(rte_eth_dev_attach("net_null2", &port), 0);
	CHECK_INT(rte_eth_dev_attach("net_null2", &other), -EEXIST);
	CHECK_INT(rte_eth_dev_attach("vdev:net_null2,copy=1", &other), -EEXIST);
	CHECK_INT(other, 4711);
	check_device_of(port, "net_null2");
	CHECK_STR(rte_hotplug_device_devargs(rte_hotplug_device_find("vdev", "net_null2")), "");
	/* Closed, the device is still attached. */
	CHECK_INT(rte_eth_dev_close(port), 0);
	CHECK_INT(rte_eth_dev_attach("net_null2", &other), -EEXIST);
	CHECK_INT(rte_eth_dev_detach(port, NULL), 0);
	CHECK_INT(rte_eth_dev_attach("net_null2", &other), 0);
	CHECK_INT(rte_eth_dev_close(other), 0);
	CHECK_INT(rte_eth_dev_detach(other, NULL), 0);
}

static void two_ports_are_told_apart(void)
{
	char name[NAME_ROOM];
	uint16_t first, second;

	CHECK_INT(rte_eth_dev_attach("net_null3", &first), 0);
	CHECK_INT(rte_eth_dev_attach("net_ring3", &second), 0);
	CHECK(first != second);
	check_device_of(first, "net_null3");
	check_device_of(second, "net_ring3");
	CHECK_INT(rte_eth_dev_close(second), 0);
	CHECK_INT(rte_eth_dev_close(first), 0);
	CHECK_INT(rte_eth_dev_detach(first, name), 0);
	CHECK_STR(name, "net_null3");
	CHECK_INT(rte_eth_dev_detach(second, name), 0);
	CHECK_STR(name, "net_ring3");
}

static void a_port_of_the_command_line_is_known(void)
{
	char name[NAME_ROOM];
	uint16_t port;

	CHECK_INT(rte_eth_dev_get_port_by_name(AT_START, &port), 0);
	CHECK_INT(rte_eth_dev_detach(port, name), -EBUSY);
	CHECK_INT(rte_eth_dev_close(port), 0);
	CHECK_INT(rte_eth_dev_detach(port, name), 0);
	CHECK_STR(name, AT_START);
	CHECK(rte_hotplug_device_find("vdev", AT_START) == NULL);
}

static void a_port_of_rte_dev_probe_is_known(void)
{
	char name[NAME_ROOM];
	uint16_t port;

	CHECK_INT(rte_dev_probe("net_null4"), 0);
	CHECK_INT(rte_eth_dev_get_port_by_name("net_null4", &port), 0);
	CHECK_INT(rte_eth_dev_detach(port, name), -EBUSY);
	CHECK_INT(rte_eth_dev_close(port), 0);
	CHECK_INT(rte_eth_dev_detach(port, name), 0);
	CHECK_STR(name, "net_null4");
}

/* Detached in another way: the number must not lead to anything any more. */
static void a_device_that_is_gone_is_forgotten(void)
{
	uint16_t port;

	CHECK_INT(rte_eth_dev_attach("net_null5", &port), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", "net_null5"), 0);
	CHECK_INT(rte_eth_dev_detach(port, NULL), -ENODEV);
}

static void unknown_ports_are_refused(void)
{
	CHECK_INT(rte_eth_dev_detach(RTE_MAX_ETHPORTS - 1, NULL), -ENODEV);
	CHECK_INT(rte_eth_dev_detach(RTE_MAX_ETHPORTS, NULL), -ENODEV);
	CHECK_INT(rte_eth_dev_detach(UINT16_MAX, NULL), -ENODEV);
}

static void a_device_without_a_port_is_detached_again(void)
{
	uint16_t port = 4711;

	CHECK_INT(rte_eth_dev_attach("rawdev_skeleton", &port), -ENODEV);
	CHECK_INT(port, 4711);
	CHECK(rte_hotplug_device_find("vdev", "rawdev_skeleton") == NULL);
	CHECK_INT(rte_rawdev_count(), 0);
	/* Its driver is there: only the port was missing. */
	CHECK_INT(rte_dev_probe("rawdev_skeleton"), 0);
	CHECK_INT(rte_rawdev_count(), 1);
	CHECK_INT(rte_eth_dev_attach("rawdev_skeleton", &port), -EEXIST);
	CHECK_INT(rte_eal_hotplug_remove("vdev", "rawdev_skeleton"), 0);
	CHECK_INT(rte_rawdev_count(), 0);
}

static void bad_devargs_are_refused(void)
{
	uint16_t port = 4711;

	CHECK_INT(rte_eth_dev_attach("no_such_driver0", &port), -EFAULT);
	/* In 20.11 it is a name that no bus takes, later a class without a bus. */
	CHECK_INT(rte_eth_dev_attach("class=eth", &port),
		  RTE_VERSION < RTE_VERSION_NUM(21, 11, 0, 0) ? -EFAULT : -EINVAL);
	CHECK_INT(rte_eth_dev_attach("pci:0000:ff:1f.7", &port), -ENODEV);
	CHECK_INT(port, 4711);
}

static void a_failed_probe_has_no_port(void)
{
	uint16_t port = 4711;

	/* The driver refuses the argument. */
	CHECK(rte_eth_dev_attach("net_null6,no_such_argument=1", &port) < 0);
	CHECK_INT(port, 4711);
	/* As after rte_dev_probe, it can be tried again. */
	CHECK_INT(rte_eth_dev_attach("net_null6", &port), 0);
	check_device_of(port, "net_null6");
	CHECK_INT(rte_eth_dev_close(port), 0);
	CHECK_INT(rte_eth_dev_detach(port, NULL), 0);
}

/*
 * ethdev gives the number of a closed port away, so between a close and its detach nobody may
 * attach: the threads attach at the same time, then close, then detach.
 */
static pthread_barrier_t together;

struct worker {
	pthread_t thread;
	char device[16];
	long wrong;
};

static void *attach_and_detach(void *argument)
{
	struct worker *worker = argument;

	suite_use_all_cpus();
	for (int i = 0; i < ROUNDS; i++) {
		char name[NAME_ROOM] = "", port_name[RTE_ETH_NAME_MAX_LEN] = "";
		uint16_t port = RTE_MAX_ETHPORTS;

		pthread_barrier_wait(&together);
		worker->wrong += rte_eth_dev_attach(worker->device, &port) != 0;
		worker->wrong += rte_eth_dev_get_name_by_port(port, port_name) != 0;
		worker->wrong += strcmp(port_name, worker->device) != 0;
		pthread_barrier_wait(&together);
		worker->wrong += rte_eth_dev_close(port) != 0;
		pthread_barrier_wait(&together);
		worker->wrong += rte_eth_dev_detach(port, name) != 0;
		worker->wrong += strcmp(name, worker->device) != 0;
	}
	return NULL;
}

static void threads_do_not_disturb_each_other(void)
{
	struct worker workers[] = { { .device = "net_null7" }, { .device = "net_null8" } };

	CHECK_INT(pthread_barrier_init(&together, NULL, 2), 0);
	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_create(&workers[i].thread, NULL, attach_and_detach, &workers[i]),
			  0);
	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_join(workers[i].thread, NULL), 0);
	pthread_barrier_destroy(&together);
	CHECK_INT(workers[0].wrong, 0);
	CHECK_INT(workers[1].wrong, 0);
}

static void nothing_is_left(void)
{
	CHECK(rte_hotplug_device_next(NULL, NULL) == NULL);
	CHECK_INT(rte_eth_dev_count_total(), 0);
}

static const struct test_case cases[] = {
	{ "NULL is refused", null_is_refused },
	{ "a port lives and goes", a_port_lives_and_goes },
	{ "a name is not needed", a_name_is_not_needed },
	{ "attaching twice is refused", attaching_twice_is_refused },
	{ "two ports are told apart", two_ports_are_told_apart },
	{ "a port of the command line is known", a_port_of_the_command_line_is_known },
	{ "a port of rte_dev_probe is known", a_port_of_rte_dev_probe_is_known },
	{ "a device that is gone is forgotten", a_device_that_is_gone_is_forgotten },
	{ "unknown ports are refused", unknown_ports_are_refused },
	{ "a device without a port is detached again", a_device_without_a_port_is_detached_again },
	{ "bad devargs are refused", bad_devargs_are_refused },
	{ "a failed probe has no port", a_failed_probe_has_no_port },
	{ "threads do not disturb each other", threads_do_not_disturb_each_other },
	{ "nothing is left", nothing_is_left },
};

/* suite_start() has no --vdev. */
int main(void)
{
	static char *argv[] = {
		(char *)"suite", (char *)"--no-huge", (char *)"-m", (char *)"64", (char *)"--no-pci",
		(char *)"--vdev", (char *)AT_START, (char *)"--file-prefix", suite_prefix, NULL,
	};

	suite_name_group();
	if (rte_eal_init(9, argv) < 0 || !suite_hosted()) {
		printf("Bail out! not inside DPDK\n");
		return EXIT_FAILURE;
	}
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}

#endif /* SUITE_HOSTED */
