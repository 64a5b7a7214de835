/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device lifecycle of DPDK's guide ("Device Hotplug", Device Lifecycle Example) as a plain DPDK
 * application: it knows nothing of librte_hotplug, which is preloaded or linked in front, or linked
 * in together with DPDK.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_version.h>

#include "harness.h"

#define DEVARGS "net_ring0"
#define PACKETS 8

static uint16_t port = RTE_MAX_ETHPORTS;
static struct rte_device *device;
static struct rte_mempool *pool;

/* What the events told: which port came and which went, and how often. */
static struct {
	int count;
	uint16_t port;
} came = { 0, RTE_MAX_ETHPORTS }, went = { 0, RTE_MAX_ETHPORTS };

static int on_event(uint16_t port_id, enum rte_eth_event_type event, void *arg, void *result)
{
	(void)arg;
	(void)result;
	if (event == RTE_ETH_EVENT_NEW) {
		came.count++;
		came.port = port_id;
	} else if (event == RTE_ETH_EVENT_DESTROY) {
		went.count++;
		went.port = port_id;
	}
	return 0;
}

static void our_code_serves(void)
{
	union {
		void *address;
		int (*mode)(void);
	} symbol = { .address = dlsym(RTLD_DEFAULT, "rte_hotplug_mode") };
	union {
		int (*function)(const char *);
		void *address;
	} probe = { .function = rte_dev_probe };
	Dl_info info;

	CHECK(symbol.address != NULL);
	CHECK_INT(symbol.mode(), 2);
	CHECK(dladdr(probe.address, &info) != 0);
	printf("# rte_dev_probe is in %s\n", info.dli_fname);
	/* Linked in, it has the name that --wrap gives it. */
	CHECK(strstr(info.dli_fname, "librte_hotplug.so") != NULL ||
	      (info.dli_sname != NULL && strcmp(info.dli_sname, "__wrap_rte_dev_probe") == 0));
}

static void events_are_subscribed(void)
{
	CHECK_INT(rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_NEW, on_event, NULL), 0);
	CHECK_INT(rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_DESTROY, on_event, NULL),
		  0);
}

static void the_device_is_attached(void)
{
	CHECK_INT(rte_dev_probe(DEVARGS), 0);
	CHECK_INT(came.count, 1);
	CHECK_INT(went.count, 0);
}

static void its_port_is_found(void)
{
	struct rte_dev_iterator iterator;
	struct rte_eth_dev_info info;
	uint16_t found;
	int ports = 0;

	RTE_ETH_FOREACH_MATCHING_DEV(found, DEVARGS, &iterator) {
		port = found;
		ports++;
	}
	CHECK_INT(ports, 1);
	CHECK_INT(port, came.port);
	CHECK_INT(rte_eth_dev_info_get(port, &info), 0);
	CHECK_STR(info.driver_name, "net_ring");
	CHECK(info.device != NULL);
	device = info.device;
}

static void the_port_is_started(void)
{
	struct rte_eth_conf conf = { 0 };

	pool = rte_pktmbuf_pool_create("lifecycle", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       rte_eth_dev_socket_id(port));
	CHECK(pool != NULL);
	CHECK_INT(rte_eth_dev_configure(port, 1, 1, &conf), 0);
	CHECK_INT(rte_eth_rx_queue_setup(port, 0, 64, rte_eth_dev_socket_id(port), NULL, pool), 0);
	CHECK_INT(rte_eth_tx_queue_setup(port, 0, 64, rte_eth_dev_socket_id(port), NULL), 0);
	CHECK_INT(rte_eth_dev_start(port), 0);
}

/* The ring driver hands back what was sent. */
static void packets_come_back(void)
{
	struct rte_mbuf *sent[PACKETS], *received[PACKETS];
	char *data;

	CHECK_INT(rte_pktmbuf_alloc_bulk(pool, sent, PACKETS), 0);
	for (int i = 0; i < PACKETS; i++) {
		data = rte_pktmbuf_append(sent[i], 64);
		CHECK(data != NULL);
		memset(data, i, 64);
	}
	CHECK_INT(rte_eth_tx_burst(port, 0, sent, PACKETS), PACKETS);
	CHECK_INT(rte_eth_rx_burst(port, 0, received, PACKETS), PACKETS);
	for (int i = 0; i < PACKETS; i++) {
		CHECK_INT(rte_pktmbuf_pkt_len(received[i]), 64);
		CHECK_INT(*rte_pktmbuf_mtod(received[i], char *), i);
		rte_pktmbuf_free(received[i]);
	}
}

static void the_port_is_stopped(void)
{
	CHECK_INT(rte_eth_dev_stop(port), 0);
	CHECK_INT(went.count, 0);
}

/* As in the guide the port is not closed before: the driver does it. */
static void the_device_is_removed(void)
{
	CHECK(device != NULL);
	CHECK_INT(rte_dev_remove(device), 0);
	CHECK_INT(went.count, 1);
	CHECK_INT(went.port, port);
	CHECK_INT(came.count, 1);
	CHECK_INT(rte_eth_dev_is_valid_port(port), 0);
	CHECK_INT(rte_eth_dev_count_avail(), 0);
}

static void it_can_be_attached_again(void)
{
	CHECK_INT(rte_eal_hotplug_add("vdev", DEVARGS, ""), 0);
	CHECK_INT(came.count, 2);
	CHECK_INT(rte_eth_dev_count_avail(), 1);
	CHECK_INT(rte_eal_hotplug_remove("vdev", DEVARGS), 0);
	CHECK_INT(went.count, 2);
	CHECK_INT(rte_eth_dev_count_avail(), 0);
}

static const struct test_case cases[] = {
	{ "our code serves the application", our_code_serves },
	{ "port events are subscribed", events_are_subscribed },
	{ "the device is attached, with a NEW event", the_device_is_attached },
	{ "its port is found", its_port_is_found },
	{ "the port is started", the_port_is_started },
	{ "packets come back", packets_come_back },
	{ "the port is stopped", the_port_is_stopped },
	{ "the device is removed, with a DESTROY event", the_device_is_removed },
	{ "it can be attached again", it_can_be_attached_again },
};

static int run(void)
{
	static char prefix[64];
	static char *argv[] = {
		(char *)"lifecycle", (char *)"--no-huge", (char *)"-m", (char *)"64",
		(char *)"--no-pci",  (char *)"--file-prefix", prefix, NULL,
	};
	int result;

	snprintf(prefix, sizeof(prefix), "hotplug_lifecycle_%d", (int)getpid());
	if (rte_eal_init(7, argv) < 0) {
		printf("Bail out! rte_eal_init failed\n");
		return EXIT_FAILURE;
	}
	printf("# inside %s\n", rte_version());
	result = run_table(cases, sizeof(cases) / sizeof(cases[0]));
	return rte_eal_cleanup() == 0 ? result : EXIT_FAILURE;
}

/* EAL leaves the directory of its prefix behind. */
static void remove_runtime_directory(pid_t pid)
{
	const char *user = getenv("XDG_RUNTIME_DIR");
	char path[512], file[1024];
	struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof(path), "%s/dpdk/hotplug_lifecycle_%d",
		 geteuid() == 0 ? "/var/run" : user != NULL ? user : "/tmp", (int)pid);
	directory = opendir(path);
	if (directory == NULL)
		return;
	while ((entry = readdir(directory)) != NULL) {
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		unlink(file);
	}
	closedir(directory);
	rmdir(path);
}

/* In a child, so that also a crash is cleaned up after. */
int main(void)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		return run();
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return EXIT_FAILURE;
	remove_runtime_directory(pid);
	if (WIFSIGNALED(status))
		printf("Bail out! killed by signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
