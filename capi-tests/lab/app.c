/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lab-app EAL-ARGUMENTS: an application with hotplugged NICs, driven by lines on standard input.
 *
 *	handle		monitor devices, handle their failures, tell their events
 *	attach NAME	probe a NIC and start it
 *	detach NAME	stop it, close it and remove it
 *	flood | echo	send without end | send back what comes, on all NICs
 *	auto DRIVER	from now on bind and attach what is added, and detach what is removed
 *	read ADDRESS	four bytes, as a driver reads a register
 *	quit
 *
 * Answers and events are lines that begin with "app: ". But for the command auto it knows nothing of
 * librte_hotplug, which is linked or preloaded in front, or is not there.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#ifdef WITH_RTE_HOTPLUG
#include <rte_hotplug.h>
#endif

#define MAX_NICS 4
#define NAME_SIZE 32
#define BURST 32
#define RING_SIZE 256
#define POOL_SIZE 4095
#define FRAME_SIZE 60

struct nic {
	char name[NAME_SIZE];
	uint16_t port;
};

struct event {
	enum rte_dev_event_type type;
	char name[NAME_SIZE];
};

enum traffic { IDLE, FLOOD, ECHO };

/* Changed only while the forwarding loop does not run. */
static struct nic nics[MAX_NICS];
static enum traffic traffic;

static atomic_bool pause_asked;
static struct rte_mempool *pool;
static int event_pipe[2];

static void send_all(uint16_t port, struct rte_mbuf **frames, uint16_t count)
{
	uint16_t sent = rte_eth_tx_burst(port, 0, frames, count);

	rte_pktmbuf_free_bulk(frames + sent, count - sent);
}

static void flood(uint16_t port)
{
	struct rte_mbuf *frame = rte_pktmbuf_alloc(pool);
	char *data = frame != NULL ? rte_pktmbuf_append(frame, FRAME_SIZE) : NULL;

	if (data == NULL) {
		rte_pktmbuf_free(frame);
		return;
	}
	memset(data, 0xff, FRAME_SIZE);
	send_all(port, &frame, 1);
}

static int forward(void *unused)
{
	struct rte_mbuf *frames[BURST];

	(void)unused;
	while (!atomic_load(&pause_asked)) {
		for (size_t i = 0; i < MAX_NICS; i++) {
			uint16_t count;

			if (nics[i].name[0] == '\0')
				continue;
			count = rte_eth_rx_burst(nics[i].port, 0, frames, BURST);
			if (traffic == FLOOD) {
				rte_pktmbuf_free_bulk(frames, count);
				flood(nics[i].port);
			} else {
				send_all(nics[i].port, frames, count);
			}
		}
	}
	return 0;
}

static void pause_forwarding(void)
{
	atomic_store(&pause_asked, true);
	rte_eal_mp_wait_lcore();
}

static void resume_forwarding(void)
{
	atomic_store(&pause_asked, false);
	if (traffic != IDLE)
		rte_eal_remote_launch(forward, NULL, rte_get_next_lcore(-1, 1, 0));
}

static struct nic *find(const char *name)
{
	for (size_t i = 0; i < MAX_NICS; i++)
		if (strcmp(nics[i].name, name) == 0)
			return &nics[i];
	return NULL;
}

static int start_port(uint16_t port)
{
	const struct rte_eth_conf configuration = { .rxmode = { .mq_mode = RTE_ETH_MQ_RX_NONE } };
	int result = rte_eth_dev_configure(port, 1, 1, &configuration);

	if (result == 0)
		result = rte_eth_rx_queue_setup(port, 0, RING_SIZE, SOCKET_ID_ANY, NULL, pool);
	if (result == 0)
		result = rte_eth_tx_queue_setup(port, 0, RING_SIZE, SOCKET_ID_ANY, NULL);
	if (result == 0)
		result = rte_eth_dev_start(port);
	return result == 0 ? rte_eth_promiscuous_enable(port) : result;
}

/* Puts an attached NIC into use. */
static int take_nic(const char *name)
{
	struct nic *nic = find("");
	int result = nic != NULL ? rte_eth_dev_get_port_by_name(name, &nic->port) : -ENOSPC;

	if (result == 0)
		result = start_port(nic->port);
	if (result == 0)
		snprintf(nic->name, sizeof(nic->name), "%s", name);
	return result;
}

static void leave_nic(struct nic *nic)
{
	if (nic == NULL)
		return;
	/* What a device that is gone answers to these is of no use. */
	rte_eth_dev_stop(nic->port);
	rte_eth_dev_close(nic->port);
	nic->name[0] = '\0';
}

static int add_nic(const char *name)
{
	int result = rte_dev_probe(name);

	return result == 0 ? take_nic(name) : result;
}

static int drop_nic(const char *name)
{
	struct rte_eth_dev_info info;
	struct nic *nic = find(name);
	int result = nic != NULL ? rte_eth_dev_info_get(nic->port, &info) : -ENODEV;

	if (result != 0)
		return result;
	leave_nic(nic);
	return rte_dev_remove(info.device);
}

static void attach(const char *name)
{
	int result;

	pause_forwarding();
	result = add_nic(name);
	resume_forwarding();
	printf("app: attach %s: %d\n", name, result);
}

static void detach(const char *name)
{
	int result;

	pause_forwarding();
	result = drop_nic(name);
	resume_forwarding();
	printf("app: detach %s: %d\n", name, result);
}

static void set_traffic(enum traffic wanted)
{
	pause_forwarding();
	traffic = wanted;
	resume_forwarding();
	printf("app: traffic: 0\n");
}

static void read_register(const char *address)
{
	volatile uint32_t *place = (volatile uint32_t *)(uintptr_t)strtoull(address, NULL, 16);

	printf("app: read: %08" PRIx32 "\n", *place);
}

/* It may run in a signal handler or under a lock of EAL: the main loop does the rest. */
static void on_event(const char *name, enum rte_dev_event_type type, void *unused)
{
	struct event event = { .type = type };

	(void)unused;
	strncpy(event.name, name, sizeof(event.name) - 1);
	if (write(event_pipe[1], &event, sizeof(event)) != sizeof(event))
		abort();
}

static void handle(void)
{
	int result = rte_dev_event_monitor_start();

	if (result == 0)
		result = rte_dev_hotplug_handle_enable();
	if (result == 0)
		result = rte_dev_event_callback_register(NULL, on_event, NULL);
	printf("app: handle: %d\n", result);
}

static void take_event(void)
{
	struct event event;

	if (read(event_pipe[0], &event, sizeof(event)) == sizeof(event))
		printf("app: event %s %s\n", event.type == RTE_DEV_EVENT_ADD ? "add" : "remove",
		       event.name);
}

#ifdef WITH_RTE_HOTPLUG
/* It runs on a thread of the library; the main loop does nothing meanwhile that concerns NICs. */
static int on_step(const char *name, enum rte_hotplug_auto_step step, int result, void *unused)
{
	(void)unused;
	switch (step) {
	case RTE_HOTPLUG_AUTO_ADDED:
		pause_forwarding();
		result = take_nic(name);
		resume_forwarding();
		printf("app: attach %s: %d\n", name, result);
		break;
	case RTE_HOTPLUG_AUTO_REMOVING:
		pause_forwarding();
		leave_nic(find(name));
		resume_forwarding();
		break;
	case RTE_HOTPLUG_AUTO_REMOVED:
		printf("app: detach %s: %d\n", name, result);
		break;
	case RTE_HOTPLUG_AUTO_FAILED:
		printf("app: failed %s: %d\n", name, result);
		break;
	default:
		break;
	}
	return 0;
}

static int follow(const char *driver)
{
	const struct rte_hotplug_auto_options rule = {
		.size = sizeof(rule),
		.device = "8086:*",
		.driver = driver,
		.cb = on_step,
	};

	return rte_hotplug_auto_add(&rule, NULL);
}
#else
static int follow(const char *driver)
{
	(void)driver;
	return -ENOTSUP;
}
#endif

/* False when it was the last command. */
static bool obey(const char *line)
{
	char name[NAME_SIZE] = "";

	if (sscanf(line, "attach %31s", name) == 1)
		attach(name);
	else if (sscanf(line, "detach %31s", name) == 1)
		detach(name);
	else if (sscanf(line, "auto %31s", name) == 1)
		printf("app: auto: %d\n", follow(name));
	else if (sscanf(line, "read %31s", name) == 1)
		read_register(name);
	else if (strcmp(line, "handle\n") == 0)
		handle();
	else if (strcmp(line, "flood\n") == 0)
		set_traffic(FLOOD);
	else if (strcmp(line, "echo\n") == 0)
		set_traffic(ECHO);
	else if (strcmp(line, "quit\n") == 0)
		return false;
	else
		printf("app: unknown: %s", line);
	return true;
}

static void serve(void)
{
	struct pollfd sources[] = { { .fd = STDIN_FILENO, .events = POLLIN },
				    { .fd = event_pipe[0], .events = POLLIN } };
	char line[128];

	for (;;) {
		if (poll(sources, 2, -1) < 0 && errno != EINTR)
			return;
		if (sources[1].revents & POLLIN)
			take_event();
		if (sources[0].revents != 0 &&
		    (fgets(line, sizeof(line), stdin) == NULL || !obey(line)))
			return;
	}
}

static void detach_all(void)
{
	pause_forwarding();
	for (size_t i = 0; i < MAX_NICS; i++)
		if (nics[i].name[0] != '\0')
			drop_nic(nics[i].name);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* poll() tells of the terminal only: nothing may wait in a buffer above it. */
	setvbuf(stdin, NULL, _IONBF, 0);
	if (rte_eal_init(argc, argv) < 0 || pipe(event_pipe) != 0)
		return EXIT_FAILURE;
	pool = rte_pktmbuf_pool_create("lab", POOL_SIZE, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	if (pool == NULL)
		return EXIT_FAILURE;
	puts("app: ready");
	serve();
	detach_all();
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
