/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the suites of the monitor share: events that the real kernel sends, as writing to the uevent
 * file of a PCI function makes it announce whatever is asked for, and callbacks that count them.
 */
#ifndef KERNEL_EVENTS_H
#define KERNEL_EVENTS_H

#include <semaphore.h>
#include <sys/file.h>
#include <time.h>

#include "suite.h"

#ifdef SUITE_HOSTED
#include <rte_interrupts.h>
#endif

#define PCI_DEVICES "/sys/bus/pci/devices"
#define UUID "6f2a1c9e-5b7d-4c55-9a38-3d2b9d2f7a10"

/* So long a test waits for what must happen, in seconds. */
#define PATIENCE 120

/* A function of this machine. Nothing happens to it: the kernel only says so. */
static char device[64], uevent_file[128];

static inline bool find_device(void)
{
	DIR *directory = opendir(PCI_DEVICES);
	struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(device, sizeof(device), "%.60s", entry->d_name);
		snprintf(uevent_file, sizeof(uevent_file), PCI_DEVICES "/%s/uevent", device);
		break;
	}
	if (directory != NULL)
		closedir(directory);
	return access(uevent_file, W_OK) == 0;
}

static inline void announce(const char *what, int times)
{
	int file = open(uevent_file, O_WRONLY | O_CLOEXEC);
	char text[128];
	int length = snprintf(text, sizeof(text), "%s " UUID, what);

	CHECK(file >= 0);
	for (int i = 0; i < times; i++)
		CHECK(pwrite(file, text, (size_t)length, 0) == length);
	close(file);
}

static sem_t told;

static inline void prepare(void)
{
	sem_init(&told, 0, 0);
}

static inline void wait_told(int times)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += PATIENCE;
	while (times > 0) {
		int result = sem_timedwait(&told, &limit);

		CHECK(result == 0 || errno == EINTR);
		times -= result == 0;
	}
}

static struct {
	_Atomic int added, removed;
	_Atomic bool on_interrupt_thread;
	_Atomic long pause;
} seen;

static inline void count(const char *name, enum rte_dev_event_type type, void *arg)
{
	struct timespec pause = { .tv_nsec = seen.pause };

	(void)arg;
	EXPECT(strcmp(name, device) == 0);
	if (type == RTE_DEV_EVENT_ADD)
		seen.added++;
	else
		seen.removed++;
#ifdef SUITE_HOSTED
	seen.on_interrupt_thread = rte_thread_is_intr() != 0;
#endif
	if (pause.tv_nsec > 0)
		nanosleep(&pause, NULL);
	sem_post(&told);
}

static inline void count_from_now(long pause)
{
	memset(&seen, 0, sizeof(seen));
	seen.pause = pause;
	prepare();
	CHECK_INT(rte_dev_event_callback_register(device, count, NULL), 0);
}

/* It may still be inside. */
static inline void count_no_more(void)
{
	int result;

	while ((result = rte_dev_event_callback_unregister(device, count, NULL)) == -EAGAIN)
		sched_yield();
	CHECK_INT(result, 1);
}

/*
 * What is announced reaches every process of this machine, so one suite at a time makes events, to its
 * end. Without a function the suite ends here, and says so.
 */
static inline void take_device(void)
{
	int file;

	if (!find_device()) {
		printf(getenv("CI") != NULL ? "Bail out! no PCI function whose events can be made\n"
					    : "1..0 # SKIP no PCI function whose events can be made\n");
		exit(getenv("CI") != NULL ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	file = open("/sys/kernel/uevent_seqnum", O_RDONLY | O_CLOEXEC);
	while (flock(file, LOCK_EX) != 0)
		if (errno != EINTR)
			exit(EXIT_FAILURE);
}

#endif /* KERNEL_EVENTS_H */
