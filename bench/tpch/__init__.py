"""The 22 queries of TPC-H: their texts (q01.sql to q22.sql), tables and answers."""
