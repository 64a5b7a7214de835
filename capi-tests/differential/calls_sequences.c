/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that matter by what came before them: repetitions, results of drivers, callbacks. */
#include <stdio.h>

#include "calls.h"

#define LAST_ERRNO 133

static char failures[LAST_ERRNO + 1][24], removals[LAST_ERRNO + 1][24];

void add_repetitions(void)
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

void add_errno_values(void)
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

void add_callbacks(void)
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
