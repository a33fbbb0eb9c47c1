/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small certificate authority: one EC P-256 key that signs the certificates of
 * an installation (or of a laboratory). Keys are written with mode 0600,
 * certificates with 0644; nothing that exists is overwritten unless asked for.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct gw_error;

struct gw_pki_request {
        const char *name;         /* common name: the id of the NVE, NVA or person; also its first DNS name */
        const char *const *hosts; /* further names and addresses that it is reached at */
        size_t n_hosts;
        unsigned days;
        bool server; /* may accept sessions: the NVA. Without it a certificate is good for dialling only. */
        bool overwrite;
};

/* Makes the authority itself. GW_E_EXISTS when one of the files is there. */
int gw_pki_make_ca(const char *cert_path, const char *key_path, const char *name, unsigned days,
                   struct gw_error *error);
/* Makes a key and a certificate for it. GW_E_INVALID for a name or host of the wrong form. */
int gw_pki_issue(const char *ca_cert_path, const char *ca_key_path, const char *cert_path, const char *key_path,
                 const struct gw_pki_request *request, struct gw_error *error);
