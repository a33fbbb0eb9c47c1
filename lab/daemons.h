/* SPDX-License-Identifier: Apache-2.0 */
/* The daemons of a lab: certificates, configuration files, starting, waiting. */
#pragma once

struct gw_error;
struct gw_lab;
struct gw_lab_options;

/* Folders, the throwaway authority, certificates and configuration files of all. */
int gw_daemons_prepare(struct gw_lab *lab, const struct gw_lab_options *options, struct gw_error *error);
int gw_daemons_start_all(struct gw_lab *lab, struct gw_error *error);
/* The log of a daemon; out holds GW_LAB_PATH octets. */
const char *gw_daemons_log(const struct gw_lab *lab, const char *host, const char *daemon, char *out);
/* The last lines of a log, into out. */
void gw_daemons_log_tail(const char *path, char *out, unsigned long size);
