"""One call, from parameters to commit. The modules in the order of reading:

- `method`: the kinds of methods, their decorators and the registry;
- `request`: the request as it comes in, and `Call`, the immutable context that is made of it;
- `dispatcher`: session, limits, parameters, context, idempotency, and on to one of the runners; with
  `session_tokens` (JWT), `tenancy` (organisation by name), `identifiers` and `fields_set` (parameters),
  `idempotency`, `shown_secrets` and `token_proofs` (credentials), `instrumentation` (stages);
- `query_runner`: a query selects documents and expands them; with `paging`;
- `command_runner`: a command loads, decides, appends, within the loop of `retry` and under the lock
  of its stream (`stream_locks`);
- `unit_of_work`: the events, rows, claims and side effects of one attempt.
"""
