# Generated from infra/template.yaml: change the template, then run `make docs`.

variable "trail_bucket_name" {
  description = "Bucket that the trail writes to. It must exist, in this region."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.trail_bucket_name))
    error_message = "trail_bucket_name must match ^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$."
  }
}

variable "trail_bucket_account" {
  description = "Account that owns the bucket, if it is another one. Its bucket policy must allow LoaderRole to read."
  type        = string
  default     = null

  validation {
    condition     = var.trail_bucket_account == null ? true : can(regex("^([0-9]{12})?$", var.trail_bucket_account))
    error_message = "trail_bucket_account must match ^([0-9]{12})?$."
  }
}

variable "trail_prefix" {
  description = "Prefix of the trail's keys, with a slash at its end; with a trail prefix for example acme/AWSLogs/. [default: AWSLogs/]"
  type        = string
  default     = null

  validation {
    condition     = var.trail_prefix == null ? true : can(regex("^([A-Za-z0-9 !_.'()=+,:;@&~\\xC0-\\xFF-]+/)+$", var.trail_prefix))
    error_message = "trail_prefix must match ^([A-Za-z0-9 !_.'()=+,:;@&~\\xC0-\\xFF-]+/)+$."
  }

  validation {
    condition     = var.trail_prefix == null ? true : length(var.trail_prefix) <= 500
    error_message = "trail_prefix must have a maximum of 500 characters."
  }
}

variable "trail_kms_key_arn" {
  description = "KMS key of the trail's files (SSE-KMS). Its key policy must allow LoaderRole to decrypt."
  type        = string
  default     = null

  validation {
    condition     = var.trail_kms_key_arn == null ? true : can(regex("^(arn:aws[a-z-]*:kms:\\S+:key/\\S+)?$", var.trail_kms_key_arn))
    error_message = "trail_kms_key_arn must match ^(arn:aws[a-z-]*:kms:\\S+:key/\\S+)?$."
  }
}

variable "notification_source" {
  description = "Who announces new files. S3 allows one consumer per prefix. If there is one already, use the trail's SNS topic or EventBridge. [default: S3]"
  type        = string
  default     = null

  validation {
    condition     = var.notification_source == null ? true : contains(["S3", "SNS", "EventBridge"], var.notification_source)
    error_message = "notification_source must be one of S3, SNS, EventBridge."
  }
}

variable "notification_version" {
  description = "A new value writes the bucket's notification again, for example after somebody removed it. [default: 1]"
  type        = string
  default     = null

  validation {
    condition     = var.notification_version == null ? true : can(regex("^[A-Za-z0-9-]{1,40}$", var.notification_version))
    error_message = "notification_version must match ^[A-Za-z0-9-]{1,40}$."
  }
}

variable "trail_topic_arn" {
  description = "The topic for SNS (the trail's own, or one of S3 events). trail_prefix must cover all that it announces."
  type        = string
  default     = null

  validation {
    condition     = var.trail_topic_arn == null ? true : can(regex("^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+)?$", var.trail_topic_arn))
    error_message = "trail_topic_arn must match ^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+)?$."
  }
}

variable "trail_topic_service" {
  description = "Service principal of trail_topic_arn. If the topic is in another region than the stack, and one of the two is an opt-in region, sns.OPT-IN-REGION.amazonaws.com. [default: sns.amazonaws.com]"
  type        = string
  default     = null

  validation {
    condition     = var.trail_topic_service == null ? true : can(regex("^sns\\.([a-z0-9-]+\\.)?amazonaws\\.com$", var.trail_topic_service))
    error_message = "trail_topic_service must match ^sns\\.([a-z0-9-]+\\.)?amazonaws\\.com$."
  }
}

variable "kms_key_arn" {
  description = "Customer key for what the stack keeps (queues, logs, alarm topic, new domain); without one, AWS's own keys. Its key policy must let logs, cloudwatch and the notifying service (s3, sns or events) use kms:GenerateDataKey* and kms:Decrypt."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^(arn:aws[a-z-]*:kms:\\S+:key/\\S+)?$", var.kms_key_arn))
    error_message = "kms_key_arn must match ^(arn:aws[a-z-]*:kms:\\S+:key/\\S+)?$."
  }
}

variable "maximum_concurrency" {
  description = "Maximum number of concurrent function invocations. It protects the cluster. [default: 4]"
  type        = number
  default     = null

  validation {
    condition     = var.maximum_concurrency == null ? true : var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000 && floor(var.maximum_concurrency) == var.maximum_concurrency
    error_message = "maximum_concurrency must be a whole number from 2 to 1000."
  }
}

variable "memory_megabytes" {
  description = "Memory of the function in MB. It also decides the share of a CPU. [default: 1769]"
  type        = number
  default     = null

  validation {
    condition     = var.memory_megabytes == null ? true : var.memory_megabytes >= 768 && var.memory_megabytes <= 10240 && floor(var.memory_megabytes) == var.memory_megabytes
    error_message = "memory_megabytes must be a whole number from 768 to 10240."
  }
}

variable "subnet_ids" {
  description = "Subnets for function and domain; empty for a public endpoint. They need access to S3, SQS and Secrets Manager (endpoints or NAT). For a domain, one for one node, two for two, three for more, and the service-linked role of opensearchservice.amazonaws.com must exist."
  type        = list(string)
  default     = null

  validation {
    condition     = var.subnet_ids == null ? true : can(regex("^(subnet-[0-9a-f]{8,17}(,subnet-[0-9a-f]{8,17})*)?$", join(",", var.subnet_ids)))
    error_message = "subnet_ids must match ^(subnet-[0-9a-f]{8,17}(,subnet-[0-9a-f]{8,17})*)?$."
  }
}

variable "security_group_ids" {
  description = "Security groups for function and domain. For a domain, they must allow each other on port 443."
  type        = list(string)
  default     = null

  validation {
    condition     = var.security_group_ids == null ? true : can(regex("^(sg-[0-9a-f]{8,17}(,sg-[0-9a-f]{8,17})*)?$", join(",", var.security_group_ids)))
    error_message = "security_group_ids must match ^(sg-[0-9a-f]{8,17}(,sg-[0-9a-f]{8,17})*)?$."
  }
}

variable "log_retention_days" {
  description = "Days for which the logs of functions and domain are kept. [default: 30]"
  type        = number
  default     = null

  validation {
    condition     = var.log_retention_days == null ? true : contains([1, 3, 5, 7, 14, 30, 60, 90, 180, 365, 731, 1827, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of 1, 3, 5, 7, 14, 30, 60, 90, 180, 365, 731, 1827, 3653."
  }
}

variable "architecture" {
  description = "architecture of the bundle. arm64 costs a fifth less. [default: arm64]"
  type        = string
  default     = null

  validation {
    condition     = var.architecture == null ? true : contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be one of arm64, x86_64."
  }
}

variable "runtime" {
  description = "Python version of the bundle. [default: python3.13]"
  type        = string
  default     = null

  validation {
    condition     = var.runtime == null ? true : contains(["python3.11", "python3.12", "python3.13", "python3.14"], var.runtime)
    error_message = "runtime must be one of python3.11, python3.12, python3.13, python3.14."
  }
}

variable "destination" {
  description = "create-domain creates an OpenSearch Service domain. domain, serverless (a collection of type search) and url (your own cluster) use an existing one. [default: create-domain]"
  type        = string
  default     = null

  validation {
    condition     = var.destination == null ? true : contains(["create-domain", "domain", "serverless", "url"], var.destination)
    error_message = "destination must be one of create-domain, domain, serverless, url."
  }
}

variable "endpoint_url" {
  description = "Address of the existing endpoint, https://host[:port][/path] without a slash at the end."
  type        = string
  default     = null

  validation {
    condition     = var.endpoint_url == null ? true : can(regex("^(https?://[A-Za-z0-9.:\\[\\]-]+(/[A-Za-z0-9._~%+@:=,-]+)*)?$", var.endpoint_url))
    error_message = "endpoint_url must match ^(https?://[A-Za-z0-9.:\\[\\]-]+(/[A-Za-z0-9._~%+@:=,-]+)*)?$."
  }
}

variable "endpoint_arn" {
  description = "ARN of the existing domain or collection."
  type        = string
  default     = null

  validation {
    condition     = var.endpoint_arn == null ? true : can(regex("^(arn:aws[a-z-]*:(es:[a-z0-9-]+:[0-9]{12}:domain|aoss:[a-z0-9-]+:[0-9]{12}:collection)/[a-z0-9-]+)?$", var.endpoint_arn))
    error_message = "endpoint_arn must match ^(arn:aws[a-z-]*:(es:[a-z0-9-]+:[0-9]{12}:domain|aoss:[a-z0-9-]+:[0-9]{12}:collection)/[a-z0-9-]+)?$."
  }
}

variable "collection_name" {
  description = "Name of the collection, to create its data access policy. Without it, grant access to both roles yourself."
  type        = string
  default     = null

  validation {
    condition     = var.collection_name == null ? true : can(regex("^([a-z][a-z0-9-]{2,31})?$", var.collection_name))
    error_message = "collection_name must match ^([a-z][a-z0-9-]{2,31})?$."
  }
}

variable "secret_arn" {
  description = "Secret with the JSON members username and password, for basic authentication at an existing endpoint."
  type        = string
  default     = null

  validation {
    condition     = var.secret_arn == null ? true : can(regex("^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+)?$", var.secret_arn))
    error_message = "secret_arn must match ^(arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+)?$."
  }
}

variable "secret_kms_key_arn" {
  description = "KMS key of the secret, if it is a customer key."
  type        = string
  default     = null

  validation {
    condition     = var.secret_kms_key_arn == null ? true : can(regex("^(arn:aws[a-z-]*:kms:\\S+:key/\\S+)?$", var.secret_kms_key_arn))
    error_message = "secret_kms_key_arn must match ^(arn:aws[a-z-]*:kms:\\S+:key/\\S+)?$."
  }
}

variable "cluster_setup_by" {
  description = "Who puts index template, retention policy and role mapping into the cluster. With operator, run trailsink setup before the first file arrives. [default: function]"
  type        = string
  default     = null

  validation {
    condition     = var.cluster_setup_by == null ? true : contains(["function", "operator"], var.cluster_setup_by)
    error_message = "cluster_setup_by must be one of function, operator."
  }
}

variable "index_prefix" {
  description = "Indices are named prefix-YYYY-MM-DD. [default: cloudtrail]"
  type        = string
  default     = null

  validation {
    condition     = var.index_prefix == null ? true : can(regex("^[a-z0-9][a-z0-9_-]{0,99}$", var.index_prefix))
    error_message = "index_prefix must match ^[a-z0-9][a-z0-9_-]{0,99}$."
  }
}

variable "index_partition" {
  description = "Time that one index covers. Use month for a small trail that is kept for years, because each index costs the cluster memory. [default: day]"
  type        = string
  default     = null

  validation {
    condition     = var.index_partition == null ? true : contains(["day", "month"], var.index_partition)
    error_message = "index_partition must be one of day, month."
  }
}

variable "retention_days" {
  description = "Days for which events are kept at least. An index is deleted when its last events are that old; 0 keeps all forever. [default: 90]"
  type        = number
  default     = null

  validation {
    condition     = var.retention_days == null ? true : var.retention_days >= 0 && var.retention_days <= 36500 && floor(var.retention_days) == var.retention_days
    error_message = "retention_days must be a whole number from 0 to 36500."
  }
}

variable "filters_bucket" {
  description = "Bucket of this account with the selectors of events to leave out (docs/filters.md). Empty indexes all events."
  type        = string
  default     = null

  validation {
    condition     = var.filters_bucket == null ? true : can(regex("^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$", var.filters_bucket))
    error_message = "filters_bucket must match ^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$."
  }
}

variable "filters_key" {
  description = "Key of the object with the selectors. A change of its content applies within a minute."
  type        = string
  default     = null

  validation {
    condition     = var.filters_key == null ? true : can(regex("^[A-Za-z0-9!_.()/=-]*$", var.filters_key))
    error_message = "filters_key must match ^[A-Za-z0-9!_.()/=-]*$."
  }

  validation {
    condition     = var.filters_key == null ? true : length(var.filters_key) <= 500
    error_message = "filters_key must have a maximum of 500 characters."
  }
}

variable "read_only_days" {
  description = "Days after which indices accept no more writes, below retention_days; 0 never blocks them. [default: 0]"
  type        = number
  default     = null

  validation {
    condition     = var.read_only_days == null ? true : var.read_only_days >= 0 && var.read_only_days <= 36500 && floor(var.read_only_days) == var.read_only_days
    error_message = "read_only_days must be a whole number from 0 to 36500."
  }
}

variable "merge_days" {
  description = "Days after their last events until indices are merged to one segment, below retention_days; 0 never merges them. [default: 0]"
  type        = number
  default     = null

  validation {
    condition     = var.merge_days == null ? true : var.merge_days >= 0 && var.merge_days <= 36500 && floor(var.merge_days) == var.merge_days
    error_message = "merge_days must be a whole number from 0 to 36500."
  }
}

variable "merged_replicas" {
  description = "replicas that merged indices keep; empty leaves as many as there are."
  type        = string
  default     = null

  validation {
    condition     = var.merged_replicas == null ? true : can(regex("^([0-9]?)$", var.merged_replicas))
    error_message = "merged_replicas must match ^([0-9]?)$."
  }
}

variable "warm_days" {
  description = "Days after their last events until indices go to UltraWarm, above merge_days; 0 never moves them. [default: 0]"
  type        = number
  default     = null

  validation {
    condition     = var.warm_days == null ? true : var.warm_days >= 0 && var.warm_days <= 36500 && floor(var.warm_days) == var.warm_days
    error_message = "warm_days must be a whole number from 0 to 36500."
  }
}

variable "replicas" {
  description = "Copies of each shard. auto is none for a new domain of one node, and one elsewhere. [default: auto]"
  type        = string
  default     = null

  validation {
    condition     = var.replicas == null ? true : can(regex("^(auto|[0-9])$", var.replicas))
    error_message = "replicas must match ^(auto|[0-9])$."
  }
}

variable "shards" {
  description = "Primary shards of each index, one for each 50 GB that an index will hold. [default: 1]"
  type        = number
  default     = null

  validation {
    condition     = var.shards == null ? true : var.shards >= 1 && var.shards <= 100 && floor(var.shards) == var.shards
    error_message = "shards must be a whole number from 1 to 100."
  }
}

variable "domain_name" {
  description = "Name of the new domain. [default: trailsink]"
  type        = string
  default     = null

  validation {
    condition     = var.domain_name == null ? true : can(regex("^[a-z][a-z0-9-]{2,27}$", var.domain_name))
    error_message = "domain_name must match ^[a-z][a-z0-9-]{2,27}$."
  }
}

variable "domain_engine_version" {
  description = "Engine of the new domain, OpenSearch_2.19 or newer. [default: OpenSearch_2.19]"
  type        = string
  default     = null

  validation {
    condition     = var.domain_engine_version == null ? true : can(regex("^OpenSearch_(2\\.19|[3-9]\\.[0-9]+)$", var.domain_engine_version))
    error_message = "domain_engine_version must match ^OpenSearch_(2\\.19|[3-9]\\.[0-9]+)$."
  }
}

variable "domain_instance_type" {
  description = "Instance type of the new domain's data nodes. r7g.medium.search is enough for a million events a day. t3.medium.search is cheaper, for up to 50 indices. [default: r7g.medium.search]"
  type        = string
  default     = null

  validation {
    condition     = var.domain_instance_type == null ? true : can(regex("^[a-z0-9]+\\.[a-z0-9]+\\.search$", var.domain_instance_type))
    error_message = "domain_instance_type must match ^[a-z0-9]+\\.[a-z0-9]+\\.search$."
  }
}

variable "domain_instance_count" {
  description = "Number of data nodes. A single one has no replica, but the trail's files stay in S3 and can be loaded again. [default: 1]"
  type        = number
  default     = null

  validation {
    condition     = var.domain_instance_count == null ? true : contains([1, 2, 3, 6, 9, 12, 15, 18, 24, 30], var.domain_instance_count)
    error_message = "domain_instance_count must be one of 1, 2, 3, 6, 9, 12, 15, 18, 24, 30."
  }
}

variable "domain_master_type" {
  description = "Instance type of three dedicated master nodes; none when empty."
  type        = string
  default     = null

  validation {
    condition     = var.domain_master_type == null ? true : can(regex("^([a-z0-9]+\\.[a-z0-9]+\\.search)?$", var.domain_master_type))
    error_message = "domain_master_type must match ^([a-z0-9]+\\.[a-z0-9]+\\.search)?$."
  }
}

variable "domain_volume_gigabytes" {
  description = "Size of the gp3 volume of each data node in GB. 100 holds a million events a day for 90 days, with room to spare. [default: 100]"
  type        = number
  default     = null

  validation {
    condition     = var.domain_volume_gigabytes == null ? true : var.domain_volume_gigabytes >= 10 && var.domain_volume_gigabytes <= 24576 && floor(var.domain_volume_gigabytes) == var.domain_volume_gigabytes
    error_message = "domain_volume_gigabytes must be a whole number from 10 to 24576."
  }
}

variable "domain_shards_per_node" {
  description = "shards that one data node may hold, for the alarm. 250 is right for DomainInstanceTypes of 8 GiB of memory, 500 for 16 GiB, 1000 for 32 GiB and more. [default: 250]"
  type        = number
  default     = null

  validation {
    condition     = var.domain_shards_per_node == null ? true : var.domain_shards_per_node >= 50 && var.domain_shards_per_node <= 4000 && floor(var.domain_shards_per_node) == var.domain_shards_per_node
    error_message = "domain_shards_per_node must be a whole number from 50 to 4000."
  }
}

variable "domain_key" {
  description = "Who encrypts the new domain. customer is kms_key_arn, if there is one; aws is AWS's own key. It cannot be changed later. [default: customer]"
  type        = string
  default     = null

  validation {
    condition     = var.domain_key == null ? true : contains(["customer", "aws"], var.domain_key)
    error_message = "domain_key must be one of customer, aws."
  }
}

variable "domain_sign_in" {
  description = "iam allows signed requests only. password also creates a master user for browsers, with a generated password. It needs browser_cidrs or subnet_ids. [default: iam]"
  type        = string
  default     = null

  validation {
    condition     = var.domain_sign_in == null ? true : contains(["iam", "password"], var.domain_sign_in)
    error_message = "domain_sign_in must be one of iam, password."
  }
}

variable "browser_cidrs" {
  description = "Networks from which people may sign in by password, for example 203.0.113.0/24. In a VPC, security groups decide that."
  type        = list(string)
  default     = null

  validation {
    condition     = var.browser_cidrs == null ? true : can(regex("^([0-9.]{7,15}/([89]|[12][0-9]|3[0-2])(,[0-9.]{7,15}/([89]|[12][0-9]|3[0-2]))*)?$", join(",", var.browser_cidrs)))
    error_message = "browser_cidrs must match ^([0-9.]{7,15}/([89]|[12][0-9]|3[0-2])(,[0-9.]{7,15}/([89]|[12][0-9]|3[0-2]))*)?$."
  }
}

variable "domain_admin_arn" {
  description = "With iam, the IAM role or user that may assume the domain's master role, to search and to grant access to others."
  type        = string
  default     = null

  validation {
    condition     = var.domain_admin_arn == null ? true : can(regex("^(arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+)?$", var.domain_admin_arn))
    error_message = "domain_admin_arn must match ^(arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+)?$."
  }
}

variable "alarm_email" {
  description = "Email address for alarms. Its owner has to confirm the subscription."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null ? true : can(regex("^([^\\s@]+@[^\\s@]+)?$", var.alarm_email))
    error_message = "alarm_email must match ^([^\\s@]+@[^\\s@]+)?$."
  }
}

variable "alarm_topic_arn" {
  description = "Existing SNS topic for alarms, in place of alarm_email."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null ? true : can(regex("^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+)?$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must match ^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+)?$."
  }
}

variable "quiet_hours" {
  description = "Hours without an indexed file after which the silence alarm is raised. [default: 6]"
  type        = number
  default     = null

  validation {
    condition     = var.quiet_hours == null ? true : var.quiet_hours >= 1 && var.quiet_hours <= 24 && floor(var.quiet_hours) == var.quiet_hours
    error_message = "quiet_hours must be a whole number from 1 to 24."
  }
}

variable "verify_schedule" {
  description = "When trailsink verify runs, as EventBridge writes it, for example rate(1 day). It needs the trail's log file validation."
  type        = string
  default     = null

  validation {
    condition     = var.verify_schedule == null ? true : can(regex("^((rate|cron)\\([A-Za-z0-9 ,*?/#-]+\\))?$", var.verify_schedule))
    error_message = "verify_schedule must match ^((rate|cron)\\([A-Za-z0-9 ,*?/#-]+\\))?$."
  }
}

variable "verify_days" {
  description = "Days of delivery that each run verifies. [default: 3]"
  type        = number
  default     = null

  validation {
    condition     = var.verify_days == null ? true : var.verify_days >= 1 && var.verify_days <= 31 && floor(var.verify_days) == var.verify_days
    error_message = "verify_days must be a whole number from 1 to 31."
  }
}

variable "detect_schedule" {
  description = "When trailsink detect run runs, for example rate(5 minutes). It needs detect_rules_bucket."
  type        = string
  default     = null

  validation {
    condition     = var.detect_schedule == null ? true : can(regex("^((rate|cron)\\([A-Za-z0-9 ,*?/#-]+\\))?$", var.detect_schedule))
    error_message = "detect_schedule must match ^((rate|cron)\\([A-Za-z0-9 ,*?/#-]+\\))?$."
  }
}

variable "detect_rules_bucket" {
  description = "Bucket of the Sigma rules."
  type        = string
  default     = null

  validation {
    condition     = var.detect_rules_bucket == null ? true : can(regex("^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$", var.detect_rules_bucket))
    error_message = "detect_rules_bucket must match ^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$."
  }
}

variable "detect_rules_prefix" {
  description = "What the keys of the Sigma rules begin with."
  type        = string
  default     = null

  validation {
    condition     = var.detect_rules_prefix == null ? true : can(regex("^[A-Za-z0-9!_.'()/-]*$", var.detect_rules_prefix))
    error_message = "detect_rules_prefix must match ^[A-Za-z0-9!_.'()/-]*$."
  }

  validation {
    condition     = var.detect_rules_prefix == null ? true : length(var.detect_rules_prefix) <= 512
    error_message = "detect_rules_prefix must have a maximum of 512 characters."
  }
}

variable "findings_topic_arn" {
  description = "Existing SNS topic for new findings."
  type        = string
  default     = null

  validation {
    condition     = var.findings_topic_arn == null ? true : can(regex("^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+)?$", var.findings_topic_arn))
    error_message = "findings_topic_arn must match ^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+)?$."
  }
}

variable "role_names" {
  description = "fixed names the roles STACK-loader, STACK-verify, STACK-detect, STACK-cluster-setup and STACK-bucket-notification, so that policies of other accounts can name them beforehand. The stack's name then has a maximum of 44 characters. A change replaces the roles. [default: generated]"
  type        = string
  default     = null

  validation {
    condition     = var.role_names == null ? true : contains(["generated", "fixed"], var.role_names)
    error_message = "role_names must be one of generated, fixed."
  }
}

variable "role_path" {
  description = "IAM path of the roles, with a slash at both ends. A change replaces the roles. [default: /]"
  type        = string
  default     = null

  validation {
    condition     = var.role_path == null ? true : can(regex("^/([A-Za-z0-9+=,.@_-]+/)*$", var.role_path))
    error_message = "role_path must match ^/([A-Za-z0-9+=,.@_-]+/)*$."
  }

  validation {
    condition     = var.role_path == null ? true : length(var.role_path) <= 512
    error_message = "role_path must have a maximum of 512 characters."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the roles. It must allow what they need, or the function cannot work."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^(arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9+=,.@_/-]+)?$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must match ^(arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9+=,.@_/-]+)?$."
  }
}
