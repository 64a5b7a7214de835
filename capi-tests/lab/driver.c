/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lab-driver: an application of the embedded mode with a driver of its own for Intel NICs, driven by
 * lines on standard input like lab-app. The driver does no more than read registers.
 *
 *	handle			monitor devices, handle their failures, tell their events
 *	attach NAME		attach a NIC
 *	detach NAME		detach it
 *	poll			read a register of all NICs without end
 *	auto DRIVER		from now on bind and attach what is added, and detach what is removed
 *	bind NAME [DRIVER]	bind a NIC to a kernel driver, or to the kernel's own
 *	free NAME		bind it to no driver
 *	bar NAME		where its registers are
 *	read ADDRESS		four bytes there
 *	quit
 */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rte_hotplug.h"

#define MAX_NICS 4
#define NAME_SIZE 32
#define STATUS_REGISTER 0x8
#define CONTROL_REGISTER 0x0

struct nic {
	char name[NAME_SIZE];
	volatile uint8_t *registers;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct nic nics[MAX_NICS];
static atomic_bool ends;

static uint32_t read_register(volatile uint8_t *registers, size_t at)
{
	return *(volatile uint32_t *)(registers + at);
}

static struct nic *find(const char *name)
{
	for (size_t i = 0; i < MAX_NICS; i++)
		if (strcmp(nics[i].name, name) == 0)
			return &nics[i];
	return NULL;
}

static int probe(struct rte_device *device, void *unused)
{
	struct nic *nic;
	void *registers;
	int result = rte_hotplug_pci_map(device, 0, &registers, NULL);

	(void)unused;
	if (result != 0)
		return result;
	pthread_mutex_lock(&lock);
	nic = find("");
	if (nic != NULL) {
		nic->registers = registers;
		snprintf(nic->name, sizeof(nic->name), "%s", rte_hotplug_device_name(device));
	}
	pthread_mutex_unlock(&lock);
	return nic != NULL ? 0 : -ENOSPC;
}

/* The last write of a driver: it has to reach a device that still works. */
static int release(struct rte_device *device, void *unused)
{
	struct nic *nic;

	(void)unused;
	pthread_mutex_lock(&lock);
	nic = find(rte_hotplug_device_name(device));
	if (nic != NULL) {
		*(volatile uint32_t *)(nic->registers + CONTROL_REGISTER) = 0;
		memset(nic, 0, sizeof(*nic));
	}
	pthread_mutex_unlock(&lock);
	return nic != NULL ? 0 : -ENODEV;
}

static void *poll_registers(void *unused)
{
	while (!atomic_load(&ends)) {
		pthread_mutex_lock(&lock);
		for (size_t i = 0; i < MAX_NICS; i++)
			if (nics[i].registers != NULL)
				(void)read_register(nics[i].registers, STATUS_REGISTER);
		pthread_mutex_unlock(&lock);
		usleep(100);
	}
	return unused;
}

static void on_event(const char *name, enum rte_dev_event_type type, void *unused)
{
	(void)unused;
	printf("app: event %s %s\n", type == RTE_DEV_EVENT_ADD ? "add" : "remove", name);
}

static int handle(void)
{
	int result = rte_dev_event_monitor_start();

	if (result == 0)
		result = rte_dev_hotplug_handle_enable();
	if (result == 0)
		result = rte_dev_event_callback_register(NULL, on_event, NULL);
	return result;
}

static int on_step(const char *name, enum rte_hotplug_auto_step step, int result, void *unused)
{
	(void)unused;
	if (step == RTE_HOTPLUG_AUTO_ADDED)
		printf("app: attach %s: %d\n", name, result);
	else if (step == RTE_HOTPLUG_AUTO_REMOVED)
		printf("app: detach %s: %d\n", name, result);
	else if (step == RTE_HOTPLUG_AUTO_FAILED)
		printf("app: failed %s: %d\n", name, result);
	return 0;
}

static int follow(const char *driver)
{
	struct rte_hotplug_auto_options rule = {
		.size = sizeof(rule),
		.device = "8086:*",
		.driver = driver,
		.cb = on_step,
	};

	return rte_hotplug_auto_add(&rule, NULL);
}

static int start_polling(void)
{
	pthread_t thread;
	int result = pthread_create(&thread, NULL, poll_registers, NULL);

	if (result == 0)
		pthread_detach(thread);
	return -result;
}

static void tell_bar(const char *name)
{
	struct nic *nic;

	pthread_mutex_lock(&lock);
	nic = find(name);
	printf("app: bar: %" PRIxPTR "\n", nic != NULL ? (uintptr_t)nic->registers : 0);
	pthread_mutex_unlock(&lock);
}

/* False when it was the last command. */
static bool obey(const char *line)
{
	char name[NAME_SIZE] = "", driver[NAME_SIZE] = "";
	int words;

	if (sscanf(line, "attach %31s", name) == 1)
		printf("app: attach %s: %d\n", name, rte_dev_probe(name));
	else if (sscanf(line, "detach %31s", name) == 1)
		printf("app: detach %s: %d\n", name, rte_eal_hotplug_remove("pci", name));
	else if (sscanf(line, "auto %31s", driver) == 1)
		printf("app: auto: %d\n", follow(driver));
	else if ((words = sscanf(line, "bind %31s %31s", name, driver)) >= 1)
		printf("app: bind: %d\n", rte_hotplug_bind_driver(name, words == 2 ? driver : NULL));
	else if (sscanf(line, "free %31s", name) == 1)
		printf("app: bind: %d\n", rte_hotplug_bind_driver(name, ""));
	else if (sscanf(line, "bar %31s", name) == 1)
		tell_bar(name);
	else if (sscanf(line, "read %31s", name) == 1)
		printf("app: read: %08" PRIx32 "\n",
		       read_register((void *)(uintptr_t)strtoull(name, NULL, 16), 0));
	else if (strcmp(line, "handle\n") == 0)
		printf("app: handle: %d\n", handle());
	else if (strcmp(line, "poll\n") == 0)
		printf("app: poll: %d\n", start_polling());
	else if (strcmp(line, "quit\n") == 0)
		return false;
	else
		printf("app: unknown: %s", line);
	return true;
}

int main(void)
{
	static const struct rte_hotplug_pci_id ids[] = {
		{ RTE_HOTPLUG_PCI_ANY_CLASS, 0x8086, RTE_HOTPLUG_PCI_ANY_ID, RTE_HOTPLUG_PCI_ANY_ID,
		  RTE_HOTPLUG_PCI_ANY_ID },
		{ 0 },
	};
	const struct rte_hotplug_driver_options driver = {
		.size = sizeof(driver), .name = "lab_e1000", .bus = "pci",
		.probe = probe, .remove = release, .pci_ids = ids,
	};
	char *arguments[] = { "lab-driver", "--log-level=lib.hotplug:debug", "--no-shconf", NULL };
	char line[128];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (rte_hotplug_driver_register(&driver, NULL) != 0 || rte_eal_init(3, arguments) < 0)
		return EXIT_FAILURE;
	puts("app: ready");
	while (fgets(line, sizeof(line), stdin) != NULL && obey(line))
		;
	atomic_store(&ends, true);
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
