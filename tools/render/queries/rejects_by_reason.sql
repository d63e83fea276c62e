-- Where do rejects come from, and why?
--
-- Cost: every partition of the rejects table; add `where year = '2026' and month = '07'` to scan a month. A payload
-- above 160 KiB is in several rows, one for each of its parts, and counts once. Where a file has very many wrong rows,
-- one reject holds several of them, and counts them all.
--
--  function | reason     | rejects | first_rejected              | example
--  ingest   | cell_count |       3 | 2026-07-14T09:30:00.000000Z | expected 46 cells as in the header, found 3
select
    function,
    reason,
    sum(coalesce(row_count, 1)) as rejects,
    min(rejected_at) as first_rejected,
    min(detail) as example
from {{rejects}}
where coalesce(part, 1) = 1
group by function, reason
order by rejects desc, function, reason
