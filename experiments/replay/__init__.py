"""`lrae-replay`: whole sessions in virtual time over a matrix of footage, codecs, networks and redundancy."""
