/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The soft limit on descriptors is for programs that use select(2), which ours do not: it is raised to the hard one,
 * which is the operator's to choose (setrlimit(2)). Without, a daemon with many sessions, or many VMs, refuses at 1024
 * what its host could well carry. When it cannot be raised it stays: then it is met later, where it says what it stops.
 */
#include "io/descriptors.h"

#include <sys/resource.h>

void gw_descriptors_raise(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
}
