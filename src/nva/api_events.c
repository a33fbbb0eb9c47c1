/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/events: server-sent events, one for each change; a move's carry the whole move. */
#include "io/http.h"
#include "nva/api.h"

void api_events(struct gw_request *request, void *user) {
        (void)user;
        gw_request_stream(request, "events");
}
