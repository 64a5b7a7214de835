/* SPDX-License-Identifier: BSD-3-Clause */
/* What the suites use of DPDK's header of this name, as the fake EAL has it. */
#ifndef RTE_VERSION_H
#define RTE_VERSION_H

const char *rte_version(void);

#endif /* RTE_VERSION_H */
