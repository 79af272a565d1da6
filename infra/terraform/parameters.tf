# Generated from infra/template.yaml: change the template, then run `make docs`.

locals {
  values = {
    TrailBucketName        = var.trail_bucket_name
    TrailBucketAccount     = var.trail_bucket_account
    TrailPrefix            = var.trail_prefix
    TrailKmsKeyArn         = var.trail_kms_key_arn
    NotificationSource     = var.notification_source
    NotificationVersion    = var.notification_version
    TrailTopicArn          = var.trail_topic_arn
    TrailTopicService      = var.trail_topic_service
    KmsKeyArn              = var.kms_key_arn
    MaximumConcurrency     = var.maximum_concurrency
    MemoryMegabytes        = var.memory_megabytes
    SubnetIds              = var.subnet_ids == null ? null : join(",", var.subnet_ids)
    SecurityGroupIds       = var.security_group_ids == null ? null : join(",", var.security_group_ids)
    LogRetentionDays       = var.log_retention_days
    Architecture           = var.architecture
    Runtime                = var.runtime
    Destination            = var.destination
    EndpointUrl            = var.endpoint_url
    EndpointArn            = var.endpoint_arn
    CollectionName         = var.collection_name
    SecretArn              = var.secret_arn
    SecretKmsKeyArn        = var.secret_kms_key_arn
    ClusterSetupBy         = var.cluster_setup_by
    IndexPrefix            = var.index_prefix
    IndexPartition         = var.index_partition
    RetentionDays          = var.retention_days
    FiltersBucket          = var.filters_bucket
    FiltersKey             = var.filters_key
    ReadOnlyDays           = var.read_only_days
    MergeDays              = var.merge_days
    MergedReplicas         = var.merged_replicas
    WarmDays               = var.warm_days
    Replicas               = var.replicas
    Shards                 = var.shards
    DomainName             = var.domain_name
    DomainEngineVersion    = var.domain_engine_version
    DomainInstanceType     = var.domain_instance_type
    DomainInstanceCount    = var.domain_instance_count
    DomainMasterType       = var.domain_master_type
    DomainVolumeGigabytes  = var.domain_volume_gigabytes
    DomainShardsPerNode    = var.domain_shards_per_node
    DomainKey              = var.domain_key
    DomainSignIn           = var.domain_sign_in
    BrowserCidrs           = var.browser_cidrs == null ? null : join(",", var.browser_cidrs)
    DomainAdminArn         = var.domain_admin_arn
    AlarmEmail             = var.alarm_email
    AlarmTopicArn          = var.alarm_topic_arn
    QuietHours             = var.quiet_hours
    VerifySchedule         = var.verify_schedule
    VerifyDays             = var.verify_days
    DetectSchedule         = var.detect_schedule
    DetectRulesBucket      = var.detect_rules_bucket
    DetectRulesPrefix      = var.detect_rules_prefix
    FindingsTopicArn       = var.findings_topic_arn
    RoleNames              = var.role_names
    RolePath               = var.role_path
    PermissionsBoundaryArn = var.permissions_boundary_arn
  }

  # A null is left out, so the template's default applies.
  parameters = { for name, value in local.values : name => tostring(value) if value != null }
}
