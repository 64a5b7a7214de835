/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application whose device goes while it works with it, without any hardware: the PCI function is
 * a directory (SYSFS_PCI_DEVICES), and its memory a mapping of a file in it that is empty, so that
 * every access is a true SIGBUS. A plain DPDK application: run as it is it shows stock, under
 * LD_PRELOAD ours. Prints what happened as "result: ...".
 *
 * usage: faults CASE DIRECTORY        (named after the function)
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <rte_alarm.h>
#include <rte_dev.h>
#include <rte_eal.h>

#include "pci_driver.h"

#define PAGE ((size_t)4096)
/* So often stock is let loop. */
#define ENOUGH 100
/* In seconds: how long is waited for what must come, and for what stock does not tell. */
#define PATIENCE 60
#define STOCK_PATIENCE 5

static const char *directory, *function;
static volatile uint32_t *memory;
static bool refuses;

/* Maps the function's resource; it can be read until the file is cut off. */
static int probe(struct rte_pci_driver *driver, struct rte_pci_device *device)
{
	struct pci_resource *bar = pci_resources(device);
	char path[512];
	int file;

	(void)driver;
	if (refuses)
		return -EIO;
	snprintf(path, sizeof(path), "%s/resource0", directory);
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0 || ftruncate(file, 2 * PAGE) != 0)
		return -errno;
	bar->address = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	bar->length = 2 * PAGE;
	/* Stock takes it for unused otherwise. */
	bar->physical = 0xfe000000;
	close(file);
	memory = bar->address;
	return 0;
}

static int drop(struct rte_pci_device *device)
{
	struct pci_resource *bar = pci_resources(device);

	munmap(bar->address, bar->length);
	bar->address = NULL;
	return 0;
}

static const struct pci_id ids[] = { { 0xffffff, 0x1af4, 0x10f0, 0xffff, 0xffff }, { 0 } };

static struct rte_pci_driver test_driver = {
	.driver = { .name = "faults" },
	.probe = probe,
	.remove = drop,
	.id_table = ids,
};

static void take_memory_away(void)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/resource0", directory);
	if (truncate(path, 0) != 0)
		abort();
}

/* A fault that has nothing to do with devices. */
static void fault_elsewhere(void)
{
	FILE *file = tmpfile();
	volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fileno(file), 0);

	(void)*page;
}

static sem_t told;
static _Atomic int removals;
static _Atomic bool in_handler;
static pthread_t main_thread;

static void on_event(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)arg;
	if (type != RTE_DEV_EVENT_REMOVE || strcmp(name, function) != 0)
		return;
	in_handler = pthread_equal(pthread_self(), main_thread) != 0;
	if (++removals >= ENOUGH) {
		printf("result: told %d times%s\n", removals,
		       in_handler ? " inside of the signal's handler" : "");
		fflush(stdout);
		_exit(EXIT_SUCCESS);
	}
	sem_post(&told);
}

/* Whether it is told in time: what never comes cannot be waited for. */
static bool wait_told(int seconds)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += seconds;
	while (sem_timedwait(&told, &limit) != 0)
		if (errno == ETIMEDOUT)
			return false;
	return true;
}

static struct rte_device *find(void)
{
	struct rte_dev_iterator iterator;
	struct rte_device *device;

	RTE_DEV_FOREACH(device, "bus=pci", &iterator)
		if (strcmp(rte_dev_name(device), function) == 0)
			return device;
	return NULL;
}

/* S5 and its uio sister: recovered, told once and not in the handler, detached and attached again. */
static void fault(void)
{
	if (rte_dev_hotplug_handle_enable() != 0)
		return;
	*memory = 1;
	take_memory_away();
	printf("# reads %u\n", memory[5] + memory[PAGE / 4 + 5]);
	if (memory[0] != 0)
		return;
	if (!wait_told(STOCK_PATIENCE)) {
		printf("result: recovered, not told\n");
		return;
	}
	if (in_handler || rte_dev_remove(find()) != 0 || rte_dev_probe(function) != 0)
		return;
	*memory = 2;
	take_memory_away();
	(void)memory[0];
	if (!wait_told(PATIENCE))
		return;
	printf("result: recovered, told %d times\n", removals);
}

static void fault_twice_enabled(void)
{
	rte_dev_hotplug_handle_enable();
	rte_dev_hotplug_handle_enable();
	rte_dev_hotplug_handle_disable();
	take_memory_away();
	(void)memory[0];
	printf("result: recovered\n");
}

/* It enables the handling again, as its parent's threads are not there. */
static bool fault_in_child(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		alarm(PATIENCE);
		if (rte_dev_hotplug_handle_enable() != 0)
			_exit(EXIT_FAILURE);
		(void)memory[0];
		_exit(wait_told(STOCK_PATIENCE) && removals == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	return waitpid(child, &status, 0) == child && status == 0;
}

static void fault_in_both(void)
{
	bool told_in_child;

	rte_dev_hotplug_handle_enable();
	take_memory_away();
	told_in_child = fault_in_child();
	(void)memory[0];
	printf("result: recovered%s%s\n", wait_told(STOCK_PATIENCE) && removals == 1 ? ", told" : "",
	       told_in_child ? ", in the child too" : "");
}

static void fault_disabled(void)
{
	rte_dev_hotplug_handle_enable();
	rte_dev_hotplug_handle_disable();
	take_memory_away();
	(void)memory[0];
	printf("result: recovered\n");
}

static void fault_of_another(void)
{
	rte_dev_hotplug_handle_enable();
	fault_elsewhere();
}

static void previous_ignores(void)
{
	signal(SIGBUS, SIG_IGN);
	rte_dev_hotplug_handle_enable();
	raise(SIGBUS);
	printf("result: ignored\n");
}

static void with_information(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	/* Called with one argument, this is whatever was there. */
	printf("result: called with %s\n",
	       info != NULL && info->si_signo == SIGBUS && info->si_pid == getpid() ? "all" : "one");
	fflush(stdout);
	_exit(EXIT_SUCCESS);
}

static void previous_has_more_flags(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };

	action.sa_sigaction = with_information;
	sigaction(SIGBUS, &action, NULL);
	rte_dev_hotplug_handle_enable();
	raise(SIGBUS);
}

static void is_put_back(void)
{
	struct sigaction before = { .sa_flags = SA_SIGINFO | SA_RESTART }, after;

	before.sa_sigaction = with_information;
	sigaction(SIGBUS, &before, NULL);
	rte_dev_hotplug_handle_enable();
	rte_dev_hotplug_handle_disable();
	sigaction(SIGBUS, NULL, &after);
	printf("result: %s\n",
	       after.sa_sigaction == with_information &&
			       (after.sa_flags & SA_RESTART) != 0
		       ? "put back"
		       : "other");
}

/* The memory is replaced at the kernel's word, before anybody touches it: under uio only. */
static void kernel_removes(void)
{
	if (rte_dev_hotplug_handle_enable() != 0 || rte_dev_event_monitor_start() != 0)
		return;
	*memory = 1;
	printf("ready\n");
	fflush(stdout);
	if (!wait_told(PATIENCE))
		return;
	printf("result: reads %u\n", memory[0]);
}

static void recovers(void)
{
	take_memory_away();
	(void)memory[0];
	printf("result: recovered\n");
}

/* In the middle of the PCI bus's own work, with its lock held. */
static _Atomic bool asking, told_while_asking;
static _Atomic int additions;
static sem_t asked;

static void on_request(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)name, (void)arg;
	if (type == RTE_DEV_EVENT_ADD)
		additions++;
	else if (asking)
		told_while_asking = true;
	sem_post(&told);
}

/* What librte_bus_pci does when the kernel wants a device back that vfio-pci holds. */
static void ask_for_it(void *arg)
{
	(void)arg;
	asking = true;
	rte_dev_event_callback_process(function, RTE_DEV_EVENT_REMOVE);
	asking = false;
	sem_post(&asked);
}

static void vfio_asks(void)
{
	sem_init(&asked, 0, 0);
	if (rte_dev_event_monitor_start() != 0 ||
	    rte_dev_event_callback_register(function, on_request, NULL) != 0 ||
	    rte_eal_alarm_set(1, ask_for_it, NULL) != 0 || !wait_told(PATIENCE))
		return;
	while (sem_wait(&asked) != 0)
		;
	/* The kernel's own events come after that: a removal and an addition. */
	printf("ready\n");
	while (additions == 0)
		if (!wait_told(PATIENCE))
			return;
	printf("result: told %d times%s\n", removals, told_while_asking ? ", with a lock held" : "");
}

/* The kernel takes the link to the driver away before it asks. */
static void vfio_asks_late(void)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/driver", directory);
	if (unlink(path) == 0)
		vfio_asks();
}

/* Attached, faulted, detached, and found again by a driver that does not take it. */
static void states(void)
{
	int (*state)(const char *bus, const char *device) = NULL;
	int attached, faulted, detached;

	/* ISO C has no cast from an object's address to a function's. */
	*(void **)&state = dlsym(RTLD_DEFAULT, "rte_hotplug_device_state_by_name");
	if (state == NULL) {
		printf("result: none\n");
		return;
	}
	rte_dev_hotplug_handle_enable();
	attached = state("pci", function);
	take_memory_away();
	(void)memory[0];
	if (!wait_told(PATIENCE))
		return;
	faulted = state("pci", function);
	if (rte_dev_remove(find()) != 0)
		return;
	detached = state("pci", function);
	refuses = true;
	if (rte_dev_probe(function) >= 0)
		return;
	printf("result: %d, %d, %d, %d\n", attached, faulted, detached, state("pci", function));
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "states", states },
	{ "early", recovers },
	{ "vfio-asks", vfio_asks },
	{ "vfio-asks-late", vfio_asks_late },
	{ "fault", fault },
	{ "twice-enabled", fault_twice_enabled },
	{ "fork", fault_in_both },
	{ "disabled", fault_disabled },
	{ "of-another", fault_of_another },
	{ "previous-ignores", previous_ignores },
	{ "previous-flags", previous_has_more_flags },
	{ "put-back", is_put_back },
	{ "kernel-removes", kernel_removes },
};

int main(int argc, char **argv)
{
	char prefix[64];
	/* The PCI bus wants physical addresses under uio, which huge pages have. */
	char *eal[] = { argv[0], (char *)"--in-memory", (char *)"-m", (char *)"32",
			(char *)"--file-prefix", prefix, NULL };
	struct rlimit no_core = { 0 };

	if (argc < 3)
		return EXIT_FAILURE;
	directory = argv[2];
	function = strrchr(directory, '/') + 1;
	main_thread = pthread_self();
	setvbuf(stdout, NULL, _IOLBF, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	snprintf(prefix, sizeof(prefix), "hotplug_faults_%d", (int)getpid());
	sem_init(&told, 0, 0);
	rte_pci_register(&test_driver);
	if (strcmp(argv[1], "early") == 0)
		rte_dev_hotplug_handle_enable();
	if (rte_eal_init(6, eal) < 0 || memory == NULL ||
	    rte_dev_event_callback_register(NULL, on_event, NULL) != 0) {
		printf("result: failed to start\n");
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(cases[i].name, argv[1]) == 0)
			cases[i].run();
	fflush(stdout);
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
