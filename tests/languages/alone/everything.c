/* The guest that touches everything, asked without a gateway. */
#include "testing.h"

static secmx_ruling asked(const char *act) {
  secmx_play((secmx_world){
    .settings = act,
    .now = 1700000001,
    .facts = {
      {"id", "01JD9W3K7Q8Z"}, {"reverse-path", "ana@agency.test"}, {"recipients", "bo@health.test"}, {"recipients", "cy@health.test"},
      {"parameters", "SIZE=1000"}, {"octets", "50"}, {"text subject", "grün"}, {"read", "Subject"}, {"tag before", "yes"},
      {"parts", "multipart/mixed"}, {"parts", "text/plain"}, {"part-text 1", "Gruss an alle"}, {"read-part 1", "Gruss"}, {"digest 1", "0123"},
      {"text X-Old", "a"}, {"text X-Old", "b"}, {"domain", "health.test"}, {"message-id", "01JD"}, {"tag class", "secret"}, {"waited", "90"},
      {"attempts", "2"}, {"secmx", "found"}, {"mx", "unknown"}, {"best-level", "host"}, {"sts-mode", "testing"}, {"exchangers", "s0.test"},
      {"exchangers", "m1.test"}, {"listener", "mx"}, {"client-address", "192.0.2.7"}, {"hello", "relay.test"},
      {"authentication-result spf", "pass"},
    },
    .lists = {{"blocked", "192.0.2.7"}},
    .store = {{"sum", "1"}},
    .dns = {{"known.test TXT", "one"}, {"known.test TXT", "two"}, {"none.test TXT", "none"}, {"down.test TXT", "servfail"}, {"forged.test TXT", "bogus"}},
  });
  return secmx_inspect(SECMX_SESSION, SECMX_MESSAGE);
}

/* One that the helper has, replaced by the test's own. */
void SECMX(destination, exchangers)(secmx_destination self, secmx_policy_destination_list_exchanger_t *ret) {
  static secmx_exchanger hosts[2];
  hosts[0] = (secmx_exchanger){.name = secmx_from("s0.test"), .port = 25, .preference = 10, .dnssec_secure = true, .expected = 3};
  hosts[1] = (secmx_exchanger){.index = 1, .name = secmx_from("m1.test"), .port = 25, .source = 2, .preference = 10};
  (void)self, *ret = (secmx_policy_destination_list_exchanger_t){hosts, 2};
}

int main(void) {
  SECMX_RULED(asked("{\"act\": \"facts\"}"), "quarantine told.facts: 01JD9W3K7Q8Z|ana@agency.test|SIZE=1000|bo@health.test ,cy@health.test |50|"
                                             "subject=grün,X-Old=a,X-Old=b|grün|ject|yes");
  SECMX_RULED(asked("{\"act\": \"parts\"}"), "quarantine told.parts: 0 - multipart/mixed - - 0 01,1 - text/plain - - 0 01|Gruss |rus|4 48|1,2");
  SECMX_RULED(asked("{\"act\": \"changes\"}"), "accept told.changes: 2 10 111 1");
  static const char *const DONE[] = {"add-field X-Told: grün", "replace-field Subject: told", "remove-field X-Old",
                                     "add-recipient di@health.test", "remove-recipient cy@health.test", "demand secure-only at least host",
                                     "set-tag class=secret", "add-evidence 0@7 seen", "journal kept", "remove-part 9", "replace-part 9 text/plain x"};
  for (size_t at = 0; at < sizeof DONE / sizeof *DONE; ++at) SECMX_EXPECT(secmx_did(DONE[at]));
  SECMX_RULED(asked("{\"act\": \"host\"}"), "accept told.host: 10 1");
  SECMX_EXPECT(secmx_did("log debug one 1") && secmx_did("log warn three 3") && secmx_did("count told 2") && !secmx_did("journal kept"));
  SECMX_RULED(asked("{\"act\": \"store\"}"), "accept told.store: - kept 3 -2 taken");
  SECMX_EXPECT(secmx_is(secmx_from(secmx_stored("sum")), "-2") && !secmx_stored("none"));
  SECMX_RULED(asked("{\"act\": \"dns\"}"), "accept told.dns: one,two 0 none unavailable bogus");
  SECMX_RULED(asked("{}"), "pass");
  SECMX_RULED(secmx_route(SECMX_DESTINATION), "accept told.route: health.test|bo@health.test,cy@health.test|ana@agency.test|01JD|secret -|90|2|"
                                              "111|testing|0 s0.test 25 10 111,1 m1.test 25 10 000|1");
  SECMX_EXPECT(secmx_did("set-role secure-only") && secmx_did("attempt 0 at least domain") && secmx_did("when-unknown defer"));
  SECMX_EXPECT(secmx_did("when-proved bounce told.proved: nothing better"));
  SECMX_RULED(secmx_greet(SECMX_SESSION), "pass");
  SECMX_EXPECT(secmx_did("set-client-certificate request") && secmx_did("set-tag channel=-") && secmx_did("set-tag peer=-"));
  SECMX_EXPECT(secmx_did("set-tag facts=01JD9W3K7Q8Z mx 192.0.2.7 - relay.test - pass - yes"));
  SECMX_EXPECT(!secmx_check());
  asked("{\"act\": 1}");
  SECMX_EXPECT(secmx_is(secmx_from(secmx_check()), "`act` must be text"));
  return secmx_failed();
}
