/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes hotplug calls and prints what each one returned and left behind, one line per call:
 *
 *	call <TAB> result and device list
 *
 * A plain DPDK application: it does not know librte_hotplug. compare.py runs it on stock DPDK and
 * under LD_PRELOAD, and compares the lines.
 *
 *	calls --list                            DPDK's version, then the numbers of the calls that
 *	                                        need a process each
 *	calls [EAL options] -- OUTPUT           all the others, in order, in this process
 *	calls [EAL options] -- OUTPUT NUMBER    this one; it may kill the process
 */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_version.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define LONGEST_SHOWN 64
#define LAST_ERRNO 133

/*
 * The driver. Debian ships no bus_vdev_driver.h: the structs are those of DPDK 22.11, of which the
 * test uses the first members only.
 */

struct list_entry {
	void *next, *prev;
};

struct driver {
	struct list_entry next;
	const char *name;
	const char *alias;
};

struct rte_vdev_driver {
	struct list_entry next;
	struct driver driver;
	int (*probe)(void *vdev);
	int (*remove)(void *vdev);
	int (*dma_map)(void *vdev, void *addr, uint64_t iova, size_t len);
	int (*dma_unmap)(void *vdev, void *addr, uint64_t iova, size_t len);
	uint32_t drv_flags;
};

void rte_vdev_register(struct rte_vdev_driver *driver);

/* struct rte_vdev_device is a list entry and the device. */
static const struct rte_device *device_of(const void *vdev)
{
	return (const void *)((const char *)vdev + sizeof(struct list_entry));
}

/* The number in the driver arguments at key, which ends in '='; 0 if it is not there. */
static int argument(const void *vdev, const char *key)
{
	const struct rte_devargs *devargs = rte_dev_devargs(device_of(vdev));
	const char *at = devargs != NULL && devargs->args != NULL ? devargs->args : "";

	while (strncmp(at, key, strlen(key)) != 0) {
		at = strchr(at, ',');
		if (at == NULL)
			return 0;
		at++;
	}
	return atoi(at + strlen(key));
}

static int probe_as_told(void *vdev)
{
	int positive = argument(vdev, "positive=");

	return positive != 0 ? positive : -argument(vdev, "fail=");
}

static int remove_as_told(void *vdev)
{
	int positive = argument(vdev, "rmpositive=");

	return positive != 0 ? positive : -argument(vdev, "rmfail=");
}

static struct rte_vdev_driver driver = {
	.driver = { .name = "hp_drv", .alias = "hp_alias" },
	.probe = probe_as_told,
	.remove = remove_as_told,
};

/* The calls. */

enum operation {
	PROBE,	     /* rte_dev_probe(first) */
	REMOVE,	     /* rte_dev_remove(the vdev named first) */
	REMOVE_NULL, /* rte_dev_remove(NULL) */
	STALE,	     /* rte_dev_remove of what was removed already */
	ADD,	     /* rte_eal_hotplug_add(first, second, third) */
	REMOVE_NAME, /* rte_eal_hotplug_remove(first, second) */
	REGISTER,    /* rte_dev_event_callback_register(first, callback, argument) */
	UNREGISTER,  /* rte_dev_event_callback_unregister(first, callback, argument) */
	PROCESS,     /* rte_dev_event_callback_process(first, event) */
};

struct call {
	enum operation operation;
	const char *first, *second, *third;
	rte_dev_event_cb_fn callback;
	intptr_t argument;
	const char *note;  /* tells calls apart that look the same */
	const char *setup; /* attached before, in a process of its own */
	bool alone;	   /* needs a process of its own: stock crashes, or may */
};

static char called[256];

static void note_call(char callback, const char *name, enum rte_dev_event_type event, void *arg)
{
	size_t used = strlen(called);

	snprintf(called + used, sizeof(called) - used, " %c(%s,%s,%" PRIdPTR ")", callback, name,
		 event == RTE_DEV_EVENT_ADD ? "add" : "remove", (intptr_t)arg);
}

static void callback_a(const char *name, enum rte_dev_event_type event, void *arg)
{
	note_call('a', name, event, arg);
}

static void callback_b(const char *name, enum rte_dev_event_type event, void *arg)
{
	note_call('b', name, event, arg);
}

static char long_name[10241], long_args[10241], long_slashes[10241], long_commas[10241];
static char names[6][80];
static char failures[LAST_ERRNO + 1][24], removals[LAST_ERRNO + 1][24];
static struct call calls[1024];
static size_t call_count;

static void add(struct call call)
{
	if (call_count == ARRAY_SIZE(calls))
		abort();
	calls[call_count++] = call;
}

#define CALL(...) add((struct call){ __VA_ARGS__ })
#define PROBE_OF(text) CALL(PROBE, .first = (text))
#define ALONE_OF(text) CALL(PROBE, .first = (text), .alone = true)
#define REMOVE_OF(device) CALL(REMOVE_NAME, .first = "vdev", .second = (device))

/* Attach and detach again; each line needs a device name of its own. */
static void add_good_strings(void)
{
	static const char *const good[][2] = {
		{ "hp_drv_1", "hp_drv_1" },
		{ "hp_drv_2,", "hp_drv_2" },
		{ "hp_drv_3,copy=1", "hp_drv_3" },
		{ "hp_drv_4,a=1,b=[1,2],c", "hp_drv_4" },
		{ "vdev:hp_drv_5", "hp_drv_5" },
		{ "vdev:hp_drv_6,a=b", "hp_drv_6" },
		{ "vdev:hp_drv_7,,", "hp_drv_7" },
		{ "hp_alias_8", "hp_alias_8" },
		{ "hp_drv", "hp_drv" },
		{ "hp_drv:with:colons", "hp_drv:with:colons" },
		{ "hp_drv/with/slashes", "hp_drv/with/slashes" },
		{ "hp_drv with blanks, and more", "hp_drv with blanks" },
		{ "hp_drv=x", "hp_drv=x" },
		{ "hp_drv[9,a]", "hp_drv[9" },
		{ "hp_drv\xc3\xa9\xff", "hp_drv\xc3\xa9\xff" },
		{ "bus=vdev,name=hp_drv_10", "hp_drv_10" },
		{ "bus=vdev,name=hp_drv_11,x=y", "hp_drv_11" },
		{ "bus=vdev,x=y,name=hp_drv_12", "hp_drv_12" },
		{ "bus=vdev,name=hp_drv_13/driver=hp_drv,a=1", "hp_drv_13" },
		{ "bus=vdev,name=hp_drv_14/class=eth", "hp_drv_14" },
		{ "bus=vdev,name=hp_drv_15/class=eth/driver=hp_drv,a=1", "hp_drv_15" },
		{ "class=eth/bus=vdev,name=hp_drv_16", "hp_drv_16" },
		{ "driver=hp_drv,a=1/bus=vdev,name=hp_drv_17", "hp_drv_17" },
		{ "bus=vdev,name=hp_drv_19/class=none", NULL },
		{ "bus=vdev,name=hp_drv_20,name=hp_drv_21", "hp_drv_20" },
		{ "bus=vdev,name=hp_drv_29/class=eth=x", "hp_drv_29" },
		{ "vdevXhp_drv_22", "hp_drv_22" },
		{ "vdev:vdev:hp_drv_23", NULL },
		{ "net_null_24", "net_null_24" },
		{ "net_null_25,size=128,copy=1", "net_null_25" },
		{ "eth_null_27", "eth_null_27" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		PROBE_OF(good[i][0]);
		if (good[i][1] != NULL)
			REMOVE_OF(good[i][1]);
	}
}

static void add_bad_strings(void)
{
	/* Stock looks behind the NUL of a text that is just a bus name: two of them end it here. */
	static const char *const bad[] = {
		"",
		",",
		",,,",
		":",
		"/",
		"=",
		"=x",
		" ",
		"no_such_driver0",
		"no_such_driver0,args=1",
		"nobus:hp_drv_1",
		"vdev\0",
		"vdev:",
		"vdev,",
		"vdev:no_such_driver0",
		"vdev:0000:02:00.0",
		"pci\0",
		"pci:",
		"pci:hp_drv_1",
		"pci:0000:ff:1f.7",
		"pci:0000:ff:1f.7,a=b",
		"0000:ff:1f.7",
		"ff:1f.7",
		"pci:ff:1f.7",
		"10000:ff:1f.7",
		"ff:20.7",
		"ff:1f.8",
		"100:1f.7",
		"bus=pci,addr=ff:1f.7",
		"bus=pci,addr=0000:ff:1f.7/class=eth/driver=net_x,a=b",
		"bus=pci,addr=nonsense",
		"bus=pci,addr=",
		"bus=pci",
		"bus=pci,name=x",
		"bus=pci,addr",
		"bus=nobus",
		"bus=nobus,name=hp_drv_1",
		"bus=",
		"bus=,name=hp_drv_1",
		"class=none",
		"class=",
		"class=none/driver=x",
		"driver=x",
		"driver",
		"driver=",
		"aux_driver.sf.0",
		"auxiliary:mlx5_core.sf.0",
		"auxiliary:",
		"auxiliary\0",
		"auxiliary:x",
		"bus=auxiliary,name=mlx5_core.sf.0",
		"bus=auxiliary",
		"vmbus:635a7ae3-091e-4410-ad59-667c4f8c04c3",
		"635a7ae3-091e-4410-ad59-667c4f8c04c3",
		"fslmc:dpni.1",
		"dpni.1",
		"dpaa_bus:fm1-mac3",
		"fm1-mac3",
		"dpaa_sec-1",
		"ifpga:x",
		"1|x",
		"\n",
		"\x01\x02\x7f\xff",
		"%s%n%d",
		"../../../etc/passwd",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		PROBE_OF(bad[i]);
	/* The same text through the other function. */
	CALL(ADD, .first = "nobus", .second = "hp_drv_1", .third = "");
	CALL(ADD, .first = "", .second = "", .third = "");
	CALL(ADD, .first = "", .second = "hp_drv_1", .third = "");
	CALL(ADD, .first = "vdev", .second = "", .third = "");
	CALL(ADD, .first = "vdev", .second = "no_such_driver0", .third = "");
	CALL(ADD, .first = "pci", .second = "0000:ff:1f.7", .third = "");
	CALL(ADD, .first = "pci", .second = "0000:ff:1f.7", .third = "a=b");
	CALL(ADD, .first = "auxiliary", .second = "", .third = "");
	CALL(REMOVE_NAME, .first = "nobus", .second = "hp_drv_1");
	CALL(REMOVE_NAME, .first = "", .second = "");
	CALL(REMOVE_NAME, .first = "vdev", .second = "");
	CALL(REMOVE_NAME, .first = "vdev", .second = "no_such_driver0");
	CALL(REMOVE_NAME, .first = "pci", .second = "0000:ff:1f.7");
	CALL(REMOVE_NAME, .first = "auxiliary", .second = "mlx5_core.sf.0");
	CALL(REMOVE_NAME, .first = "VDEV", .second = "hp_drv_1");
}

static void add_names_and_lengths(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t length = 61 + i;
		char *name = names[i];

		memset(name, 'n', length);
		memcpy(name, "hp_drv_", 7);
		PROBE_OF(name);
		REMOVE_OF(name);
		CALL(ADD, .first = "vdev", .second = name, .third = "x=1");
		CALL(REMOVE_NAME, .first = "vdev", .second = name, .note = "second time");
	}
	memset(long_name, 'n', sizeof(long_name) - 1);
	memcpy(long_name, "hp_drv_", 7);
	memset(long_args, 'a', sizeof(long_args) - 1);
	memcpy(long_args, "hp_drv_long,", 12);
	memset(long_slashes, '/', sizeof(long_slashes) - 1);
	memcpy(long_slashes, "hp_drv_long,", 12);
	memset(long_commas, ',', sizeof(long_commas) - 1);
	memcpy(long_commas, "hp_drv_long,", 12);
	PROBE_OF(long_name);
	REMOVE_OF(long_name);
	PROBE_OF(long_args);
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_long", .note = "long arguments");
	PROBE_OF(long_slashes);
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_long", .note = "many slashes");
	PROBE_OF(long_commas);
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_long", .note = "many commas");
	CALL(ADD, .first = "vdev", .second = "hp_drv_long", .third = long_name);
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_long", .note = "added");
	CALL(ADD, .first = long_name, .second = "hp_drv_long", .third = "");
	CALL(REMOVE_NAME, .first = long_name, .second = "hp_drv_long");
}

static void add_repetitions(void)
{
	/* double attach, the second with other arguments; double remove */
	CALL(PROBE, .first = "hp_drv_r0,a=1", .note = "first");
	CALL(PROBE, .first = "hp_drv_r0,a=1", .note = "again");
	CALL(PROBE, .first = "hp_drv_r0,a=2");
	CALL(PROBE, .first = "vdev:hp_drv_r0");
	CALL(PROBE, .first = "bus=vdev,name=hp_drv_r0/driver=hp_drv,a=3");
	CALL(PROBE, .first = "hp_drv_r0,fail=5", .note = "attached: not probed again");
	CALL(ADD, .first = "vdev", .second = "hp_drv_r0", .third = "a=4");
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_r0", .note = "first");
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_r0", .note = "again");
	CALL(PROBE, .first = "hp_drv_r0", .note = "after removal");
	CALL(REMOVE, .first = "hp_drv_r0");
	/* a failed attach leaves the device; a good one takes it */
	CALL(PROBE, .first = "hp_drv_r1,fail=12");
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_r1", .note = "not probed");
	CALL(REMOVE, .first = "hp_drv_r1", .note = "not probed");
	CALL(PROBE, .first = "hp_drv_r1,fail=17", .note = "a driver's own EEXIST");
	CALL(PROBE, .first = "hp_drv_r1,a=1");
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_r1", .note = "probed");
	/* a driver that keeps its device until it is told otherwise */
	CALL(PROBE, .first = "hp_drv_r2,rmfail=16");
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_r2", .note = "refused");
	CALL(REMOVE, .first = "hp_drv_r2", .note = "refused");
	CALL(PROBE, .first = "hp_drv_r2,rmpositive=3");
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_r2", .note = "refused by > 0");
	CALL(PROBE, .first = "hp_drv_r2");
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_r2", .note = "granted");
	/* several devices: order and neighbours */
	CALL(PROBE, .first = "hp_drv_s0,a=0");
	CALL(PROBE, .first = "hp_drv_s1,a=1");
	CALL(PROBE, .first = "hp_drv_s2,a=2");
	CALL(REMOVE, .first = "hp_drv_s1");
	CALL(PROBE, .first = "hp_drv_s1,fail=1");
	CALL(REMOVE, .first = "hp_drv_s0");
	CALL(PROBE, .first = "hp_drv_s1,a=3");
	CALL(REMOVE, .first = "hp_drv_s2");
	CALL(REMOVE, .first = "hp_drv_s1", .note = "last");
}

static void add_errno_values(void)
{
	static const int more[] = { 134, 1000, 4095, 100000, -1 };

	for (int value = 1; value <= LAST_ERRNO; value++) {
		snprintf(failures[value], sizeof(failures[value]), "hp_drv_e,fail=%d", value);
		PROBE_OF(failures[value]);
	}
	CALL(PROBE, .first = "hp_drv_e");
	for (int value = 1; value <= LAST_ERRNO; value += 3) {
		snprintf(removals[value], sizeof(removals[value]), "hp_drv_e,rmfail=%d", value);
		PROBE_OF(removals[value]);
		CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_e", .note = removals[value]);
	}
	CALL(PROBE, .first = "hp_drv_e", .note = "so that it can be removed");
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_e");
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		static char texts[ARRAY_SIZE(more)][2][32];

		snprintf(texts[i][0], sizeof(texts[i][0]), "hp_drv_m,fail=%d", more[i]);
		snprintf(texts[i][1], sizeof(texts[i][1]), "hp_drv_p,positive=%d", more[i]);
		PROBE_OF(texts[i][0]);
		PROBE_OF(texts[i][1]);
	}
	CALL(PROBE, .first = "hp_drv_p,positive=1");
	CALL(PROBE, .first = "hp_drv_p");
	CALL(PROBE, .first = "hp_drv_m");
	CALL(PROBE, .first = "hp_drv_p,rmpositive=1");
	CALL(REMOVE, .first = "hp_drv_p", .note = "refused by > 0");
	CALL(PROBE, .first = "hp_drv_p,rmpositive=0");
	REMOVE_OF("hp_drv_p");
	REMOVE_OF("hp_drv_m");
}

#define EVENT(op, device, function, arg, text)                                                     \
	CALL(op, .first = (device), .callback = (function), .argument = (arg), .note = (text))

static void add_callbacks(void)
{
	EVENT(UNREGISTER, "x", callback_a, 1, "none registered");
	EVENT(UNREGISTER, NULL, callback_a, -1, "none registered");
	EVENT(REGISTER, "x", NULL, 1, "no function");
	EVENT(UNREGISTER, "x", NULL, 1, "no function");
	EVENT(REGISTER, "x", callback_a, 1, "first");
	EVENT(REGISTER, "x", callback_a, 1, "again");
	EVENT(REGISTER, "x", callback_a, 2, "other argument");
	EVENT(REGISTER, "x", callback_b, 1, "other function");
	EVENT(REGISTER, "y", callback_a, 1, "other device");
	EVENT(REGISTER, NULL, callback_a, 1, "all devices");
	EVENT(REGISTER, NULL, callback_a, 1, "all devices again");
	EVENT(REGISTER, "", callback_b, 0, "the empty name");
	EVENT(PROCESS, "x", NULL, RTE_DEV_EVENT_ADD, NULL);
	EVENT(PROCESS, "x", NULL, RTE_DEV_EVENT_REMOVE, NULL);
	EVENT(PROCESS, "y", NULL, RTE_DEV_EVENT_ADD, NULL);
	EVENT(PROCESS, "xy", NULL, RTE_DEV_EVENT_ADD, NULL);
	EVENT(PROCESS, "", NULL, RTE_DEV_EVENT_ADD, NULL);
	EVENT(PROCESS, NULL, NULL, RTE_DEV_EVENT_ADD, NULL);
	EVENT(UNREGISTER, "x", callback_a, 1, NULL);
	EVENT(UNREGISTER, "x", callback_a, 1, "again");
	EVENT(PROCESS, "x", NULL, RTE_DEV_EVENT_ADD, "after unregister of a,1");
	EVENT(UNREGISTER, "x", callback_a, -1, NULL);
	EVENT(UNREGISTER, "x", callback_b, 3, "other argument");
	EVENT(PROCESS, "x", NULL, RTE_DEV_EVENT_ADD, "after unregister of a");
	EVENT(PROCESS, "y", NULL, RTE_DEV_EVENT_ADD, "after unregister of a");
	EVENT(UNREGISTER, "z", callback_a, 1, "device without callbacks");
	EVENT(UNREGISTER, NULL, callback_b, 9, "every device, other argument");
	EVENT(PROCESS, "y", NULL, RTE_DEV_EVENT_ADD, "after b,9");
	EVENT(UNREGISTER, NULL, callback_a, 1, NULL);
	EVENT(PROCESS, "x", NULL, RTE_DEV_EVENT_ADD, "after all of a,1");
	EVENT(UNREGISTER, NULL, callback_b, -1, NULL);
	EVENT(UNREGISTER, NULL, callback_b, -1, "again");
	EVENT(PROCESS, "x", NULL, RTE_DEV_EVENT_ADD, "after all");
	EVENT(REGISTER, long_name, callback_a, 1, NULL);
	EVENT(UNREGISTER, long_name, callback_a, 1, NULL);
	/* a device that is only listed, and one that is attached, make no events */
	EVENT(REGISTER, NULL, callback_a, 7, "while attaching");
	CALL(PROBE, .first = "hp_drv_c0");
	REMOVE_OF("hp_drv_c0");
	EVENT(UNREGISTER, NULL, callback_a, 7, "while attaching");
}

static void add_odd_arguments(void)
{
	CALL(PROBE, .first = "vdev\0hp_drv_behind", .note = "hp_drv_behind follows the NUL");
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_behind");
	CALL(ADD, .first = "vdev", .second = "hp_drv_n0", .third = NULL);
	CALL(REMOVE_NAME, .first = "vdev", .second = "hp_drv_n0");
	CALL(ADD, .first = "vdev", .second = NULL, .third = "");
	CALL(ADD, .first = NULL, .second = "hp_drv_n1", .third = "");
	CALL(ADD, .first = NULL, .second = NULL, .third = NULL);
}

/* What leaves devices behind that no driver holds, so that nothing can remove them: last. */
static void add_leftovers(void)
{
	/* a layered string lists them, whether there is a driver or not */
	PROBE_OF("bus=vdev");
	PROBE_OF("bus=vdev,name=");
	PROBE_OF("bus=vdev,name");
	CALL(REMOVE_NAME, .first = "vdev", .second = "", .note = "listed");
	PROBE_OF("bus=vdev,name=no_such_driver0");
	PROBE_OF("bus=vdev,name=no_such_driver0,again=1");
	PROBE_OF("vdev:no_such_driver0,again=2");
	CALL(REMOVE_NAME, .first = "vdev", .second = "no_such_driver0", .note = "listed");
	CALL(REMOVE, .first = "no_such_driver0");
	/* the last '=' counts, so that this has no name */
	PROBE_OF("bus=vdev,name=hp_drv_18/other=1");
	REMOVE_OF("hp_drv_18/other=1");
	/* net_null takes "driver=net_null" for an argument */
	PROBE_OF("bus=vdev,name=net_null_26/class=eth/driver=net_null,size=64");
	REMOVE_OF("net_null_26");
	PROBE_OF("net_null_28,unknown=1");
	REMOVE_OF("net_null_28");
	PROBE_OF("net_null_28,size=64");
	CALL(REMOVE, .first = "net_null_28");
}

/* What stock does not survive, or survives by luck. */
static void add_crashes(void)
{
	static const char *const strings[] = {
		"bus",
		"class",
		"bus,name=hp_drv_1",
		"class,x",
		"bus=vdev,name=hp_drv_1/class",
		"class=eth",
		"class=eth/driver=net_null",
		"bus=vdev,name=hp_drv_1/class=eth/driver=a/driver=b",
		"bus=vdev/bus=vdev/bus=vdev/bus=vdev,name=hp_drv_1",
		"/bus=/bus=/bus=/bus=/bus=/bus=/bus=/bus=",
		"hp_drv_1/driver=a/driver=b/driver=c/driver=d/driver=e/driver=f",
		"x/bus=vdev/class=eth/driver=a",
	};

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		ALONE_OF(strings[i]);
	CALL(PROBE, .first = NULL, .alone = true);
	CALL(REMOVE_NULL, .alone = true);
	CALL(REMOVE_NAME, .first = NULL, .second = "hp_drv_1", .alone = true);
	CALL(REMOVE_NAME, .first = "vdev", .second = NULL, .setup = "hp_drv_1", .alone = true);
	CALL(REMOVE_NAME, .first = NULL, .second = NULL, .alone = true);
	CALL(STALE, .first = "hp_drv_1", .setup = "hp_drv_1", .alone = true);
	CALL(STALE, .first = "hp_drv_1", .setup = "hp_drv_1,a=1", .note = "had arguments",
	     .alone = true);
	CALL(STALE, .first = "net_null_1", .setup = "net_null_1", .alone = true);
}

static void add_calls(void)
{
	add_good_strings();
	add_bad_strings();
	add_names_and_lengths();
	add_repetitions();
	add_errno_values();
	add_callbacks();
	add_odd_arguments();
	add_leftovers();
	add_crashes();
}

/* Doing and printing. */

static FILE *output;

/* A string as text without tabs, '|' or '`'; long ones by their start and length. */
static void show_string(const char *text)
{
	size_t length;

	if (text == NULL) {
		fputs("NULL", output);
		return;
	}
	length = strlen(text);
	fputc('"', output);
	for (size_t i = 0; i < length && i < LONGEST_SHOWN; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c > '~' || strchr("|`\\\"", c) != NULL)
			fprintf(output, "\\x%02x", c);
		else
			fputc(c, output);
	}
	fputc('"', output);
	if (length > LONGEST_SHOWN)
		fprintf(output, "...%zu", length);
}

static void show_function(const char *name, const char *const *strings, size_t count)
{
	fprintf(output, "%s(", name);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			fputs(", ", output);
		show_string(strings[i]);
	}
	fputc(')', output);
}

static void show_event_call(const char *name, const struct call *call)
{
	fprintf(output, "%s(", name);
	show_string(call->first);
	fprintf(output, ", %s, %" PRIdPTR ")",
		call->callback == NULL	       ? "NULL"
		: call->callback == callback_a ? "a"
					       : "b",
		call->argument);
}

static void show_call(const struct call *call)
{
	const char *const strings[] = { call->first, call->second, call->third };

	switch (call->operation) {
	case PROBE:
		show_function("rte_dev_probe", strings, 1);
		break;
	case REMOVE:
		show_function("rte_dev_remove", strings, 1);
		break;
	case REMOVE_NULL:
		fputs("rte_dev_remove(NULL)", output);
		break;
	case STALE:
		show_function("rte_dev_remove of a removed device", strings, 1);
		break;
	case ADD:
		show_function("rte_eal_hotplug_add", strings, 3);
		break;
	case REMOVE_NAME:
		show_function("rte_eal_hotplug_remove", strings, 2);
		break;
	case REGISTER:
		show_event_call("rte_dev_event_callback_register", call);
		break;
	case UNREGISTER:
		show_event_call("rte_dev_event_callback_unregister", call);
		break;
	case PROCESS:
		fputs("rte_dev_event_callback_process(", output);
		show_string(call->first);
		fprintf(output, ", %s)", call->argument == RTE_DEV_EVENT_ADD ? "add" : "remove");
		break;
	}
	if (call->note != NULL)
		fprintf(output, " - %s", call->note);
}

static struct rte_device *find(const char *name)
{
	struct rte_dev_iterator iterator;
	struct rte_device *dev;

	RTE_DEV_FOREACH(dev, "bus=vdev", &iterator) {
		if (strcmp(rte_dev_name(dev), name) == 0)
			return dev;
	}
	return NULL;
}

static int remove_stale(const char *name)
{
	struct rte_device *dev = find(name);

	if (dev == NULL || rte_dev_remove(dev) != 0) {
		fputs("calls: the first removal failed\n", stderr);
		exit(EXIT_FAILURE);
	}
	rte_errno = 0;
	return rte_dev_remove(dev);
}

static int make_call(const struct call *call)
{
	void *arg = (void *)call->argument;

	switch (call->operation) {
	case PROBE:
		return rte_dev_probe(call->first);
	case REMOVE: {
		struct rte_device *dev = find(call->first);

		/* The search leaves an errno of its own. */
		rte_errno = 0;
		return dev != NULL ? rte_dev_remove(dev) : INT16_MIN;
	}
	case REMOVE_NULL:
		return rte_dev_remove(NULL);
	case STALE:
		return remove_stale(call->first);
	case ADD:
		return rte_eal_hotplug_add(call->first, call->second, call->third);
	case REMOVE_NAME:
		return rte_eal_hotplug_remove(call->first, call->second);
	case REGISTER:
		return rte_dev_event_callback_register(call->first, call->callback, arg);
	case UNREGISTER:
		return rte_dev_event_callback_unregister(call->first, call->callback, arg);
	case PROCESS:
		rte_dev_event_callback_process(call->first,
					       (enum rte_dev_event_type)call->argument);
		return 0;
	}
	return INT16_MIN;
}

static void show_devices(const char *iterate)
{
	struct rte_dev_iterator iterator;
	struct rte_device *dev;

	RTE_DEV_FOREACH(dev, iterate, &iterator) {
		const struct rte_devargs *devargs = rte_dev_devargs(dev);

		fprintf(output, " %s:", iterate + strlen("bus="));
		show_string(rte_dev_name(dev));
		fputs(rte_dev_driver(dev) != NULL ? "+" : "-", output);
		show_string(devargs != NULL ? devargs->args : NULL);
	}
}

static void do_call(const struct call *call)
{
	int saved_errno, result;

	show_call(call);
	/* Stays when the call kills the process. */
	fflush(output);
	called[0] = '\0';
	rte_errno = 0;
	result = make_call(call);
	saved_errno = rte_errno;
	fprintf(output, "\t%d", result);
	if (result < 0)
		fprintf(output, " (rte_errno %d)", saved_errno);
	fputs(called, output);
	fputs(";", output);
	show_devices("bus=vdev");
	show_devices("bus=pci");
	fputc('\n', output);
	fflush(output);
}

static int list_alone(void)
{
	puts(rte_version());
	for (size_t i = 0; i < call_count; i++)
		if (calls[i].alone)
			printf("%zu\n", i);
	return EXIT_SUCCESS;
}

static void run_all(void)
{
	for (size_t i = 0; i < call_count; i++)
		if (!calls[i].alone)
			do_call(&calls[i]);
}

static void run_one(size_t number)
{
	const struct call *call = &calls[number];

	if (call->setup != NULL && rte_dev_probe(call->setup) != 0) {
		fputs("calls: the setup failed\n", stderr);
		exit(EXIT_FAILURE);
	}
	do_call(call);
}

int main(int argc, char **argv)
{
	int used;

	add_calls();
	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list_alone();
	rte_vdev_register(&driver);
	used = rte_eal_init(argc, argv);
	if (used < 0 || argc - used < 2) {
		fputs("usage: calls [EAL options] -- OUTPUT [NUMBER]\n", stderr);
		return EXIT_FAILURE;
	}
	argc -= used;
	argv += used;
	output = fopen(argv[1], "w");
	if (output == NULL) {
		perror(argv[1]);
		return EXIT_FAILURE;
	}
	if (argc == 2)
		run_all();
	else
		run_one(strtoul(argv[2], NULL, 10) % call_count);
	fclose(output);
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
