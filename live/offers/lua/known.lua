-- What is known of these rids. KEYS: meta, then the rids' two hashes. ARGV: the rids, 1,000 at most.
-- Answer: the room's fence, then per rid its record or nil. Only reads.
-- include: live.infra/nudge
-- include: rids
local answers = read_rids(2, ARGV)
table.insert(answers, 1, redis.call('HGET', META, 'fence') or '')
return answers
