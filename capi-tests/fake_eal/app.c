/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls everything that librte_hotplug replaces or stands in front of, and prints what comes back. With
 * the argument "started" it calls nothing before rte_eal_init(), and looks who gets messages; with "mode"
 * it prints only what rte_hotplug_mode() says then, if that is there.
 */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "fake_eal.h"

static void on_event(const char *device, enum rte_dev_event_type event, void *argument)
{
	printf("event %s %d %p\n", device, (int)event, argument);
}

static int on_message(const struct rte_mp_msg *message, const void *peer)
{
	(void)message;
	(void)peer;
	return 0;
}

#define SHOW(call) printf("%s = %d\n", #call, (int)(call))

int main(int argc, char **argv)
{
	struct rte_device *device = (struct rte_device *)0x1230;
	void *argument = (void *)0x4560;
	char *words[] = { (char *)"program", (char *)"--option", NULL };
	union {
		void *address;
		int (*mode)(void);
	} symbol = { .address = dlsym(RTLD_DEFAULT, "rte_hotplug_mode") };
	bool all = argc == 1;

	/* One order of lines, also when standard output is a pipe. */
	setvbuf(stdout, NULL, _IONBF, 0);
	if (all)
		SHOW(rte_dev_probe("net_x0,key=value"));
	SHOW(rte_eal_init(2, words));
	if (!all && strcmp(argv[1], "mode") == 0) {
		printf("mode %d\n", symbol.address != NULL ? symbol.mode() : 0);
		return 0;
	}
	if (!all) {
		SHOW(fake_has_own_handler());
		SHOW(fake_vdev_message(1, "net_x0"));
		SHOW(fake_vdev_message(2, "net_x0"));
		SHOW(fake_vdev_messages);
	}
	SHOW(rte_dev_probe("net_x1"));
	SHOW(rte_dev_remove(device));
	SHOW(rte_eal_hotplug_add("vdev", "net_x2", "key=value"));
	SHOW(rte_eal_hotplug_remove("vdev", "net_x2"));
	SHOW(rte_dev_event_callback_register("x3", on_event, argument));
	SHOW(rte_dev_event_callback_register(NULL, on_event, NULL));
	SHOW(rte_dev_event_callback_unregister("x3", on_event, argument));
	SHOW(rte_dev_event_callback_unregister(NULL, on_event, (void *)-1));
	rte_dev_event_callback_process("x4", RTE_DEV_EVENT_ADD);
	rte_dev_event_callback_process("x4", RTE_DEV_EVENT_REMOVE);
	SHOW(rte_dev_event_monitor_start());
	SHOW(rte_dev_event_monitor_stop());
	SHOW(rte_dev_hotplug_handle_enable());
	SHOW(rte_dev_hotplug_handle_disable());
	SHOW(rte_mp_action_register("action", on_message));
	SHOW(rte_eal_cleanup());
	return 0;
}
