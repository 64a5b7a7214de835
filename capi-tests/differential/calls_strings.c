/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls with all kinds of names, devargs and lengths. */
#include <string.h>

#include "calls.h"

char long_name[10241];
static char long_args[10241], long_slashes[10241], long_commas[10241];
static char names[6][80];

/* Attach and detach again; each line needs a device name of its own. */
void add_good_strings(void)
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

void add_bad_strings(void)
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

void add_names_and_lengths(void)
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

void add_odd_arguments(void)
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
void add_leftovers(void)
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
void add_crashes(void)
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
