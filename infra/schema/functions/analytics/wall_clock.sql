CREATE OR REPLACE FUNCTION analytics.wall_clock(
    in_java text
) RETURNS timestamp LANGUAGE sql STABLE AS $$
    SELECT (substr(in_java, 9, 2) || ' ' || substr(in_java, 5, 3) || ' ' || right(in_java, 4) || ' '
            || substr(in_java, 12, 8))::timestamp
$$;

COMMENT ON FUNCTION analytics.wall_clock IS
    'The date of a text in Java style, as Mon May 05 15:49:59 EEST 2014.';
